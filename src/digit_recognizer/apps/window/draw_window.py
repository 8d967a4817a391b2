"""A window to draw a digit in, which is read while it is drawn: python -m digit_recognizer draw."""

from pathlib import Path
from typing import Any

from digit_recognizer.runtime.errors import UserError


def run(model: str | None = None, data_dir: str | None = None) -> None:
    """Open the window and return when it is closed.

    model: a file to read with, by default the network that comes with the package; data_dir: where MNIST/raw lies, for
    training. Raises UserError where there is no display, no tkinter or no such model.
    """
    open_window(model, data_dir).root.mainloop()


def open_window(model: str | None = None, data_dir: str | None = None) -> Any:
    """The window (see draw_actions.Window), before anything has happened in it; see run."""
    try:
        import tkinter
    except ImportError as error:  # Debian and Ubuntu have it in a package of its own
        page = "python -m digit_recognizer serve"
        raise UserError(f"Python lacks tkinter; install python3-tk, or use the page instead: {page}") from error
    try:
        root = tkinter.Tk(className="Digit Recognizer")
    except tkinter.TclError as error:
        raise UserError(
            "there is no display to open a window on; use the page instead: python -m digit_recognizer serve"
        ) from error
    root.withdraw()  # until everything is in its place

    from digit_recognizer.apps.window import drawing, layout
    from digit_recognizer.apps.window import window as window_window
    from digit_recognizer.recognition.recognizer import Recognizer
    from digit_recognizer.runtime.device import (
        choose_device,  # torch takes seconds to import: what is above says so at once
    )

    choose_device("cpu", threads=1)
    try:
        recognizer = Recognizer.load(model)
    except UserError:
        root.destroy()
        raise
    name = "the one that comes with the package" if model is None else layout.short(Path(model).name)
    dot = drawing.Drawing()
    dot.start(drawing.Stroke(0.1, [(0.5, 0.5)]))
    recognizer.predict(dot.image())  # the first takes several times as long as those that follow
    window = window_window.Window(root, recognizer, name, data_dir)
    root.deiconify()
    return window
