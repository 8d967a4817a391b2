"""The window to draw a digit in, which is read while it is drawn: `digits draw`.

window     the window's state and actions
layout     the widgets' places, fonts and sizes
widgets    the drawing pad, the bars, the network's input, the training curve
drawing    the drawing as strokes, as an image and as a file
background work beside the window, in a thread
learning   training the published network
hand       drawings kept with their right answers, and a network that learns them
review     the drawings among them that look like another digit
"""

from pathlib import Path
from typing import TYPE_CHECKING

from digit_recognizer.runtime.errors import UserError

if TYPE_CHECKING:
    import tkinter

    from digit_recognizer.apps.window.window import Window

LOOK_INTERVAL = 200  # milliseconds
_INSTEAD = "use the page instead: digits serve"


def run(model: str | None = None, data_dir: str | None = None) -> None:
    """Open the window and return when it is closed.

    model: a model file, by default the network of the package; data_dir: where MNIST/raw lies, for training.
    Raises UserError without a display, without tkinter or without such a model.
    """
    root = open_window(model, data_dir).root
    _look_for_ctrl_c(root)
    root.mainloop()


def _look_for_ctrl_c(root: "tkinter.Tk") -> None:
    """Wake Tk now and then: Python sees Ctrl-C only between its events, and an idle window has none."""
    root.after(LOOK_INTERVAL, _look_for_ctrl_c, root)


def open_window(model: str | None = None, data_dir: str | None = None) -> "Window":
    """Open the window without running its main loop; see run."""
    try:
        import tkinter
    except ImportError as error:  # on Debian and Ubuntu tkinter is a package of its own
        raise UserError(f"Python lacks tkinter; install python3-tk, or {_INSTEAD}") from error
    try:
        root = tkinter.Tk(className="Digit Recognizer")
    except tkinter.TclError as error:
        raise UserError(f"there is no display to open a window on; {_INSTEAD}") from error
    root.withdraw()  # until the layout is complete

    from digit_recognizer.apps.window import drawing, layout  # these take a while
    from digit_recognizer.apps.window.window import Window
    from digit_recognizer.recognition.recognizer import Recognizer

    try:
        recognizer = Recognizer.load(model)
    except UserError:
        root.destroy()
        raise
    name = "the one that comes with the package" if model is None else layout.shorten(Path(model).name)
    dot = drawing.Drawing()
    dot.add(drawing.Stroke(0.1, [(0.5, 0.5)]))
    recognizer.predict(dot.render())  # a first prediction takes several times as long as later ones
    window = Window(root, recognizer, name, data_dir)
    if model is None:
        try:
            window.hand.use_learned()
        except UserError as error:  # damaged, or PyTorch is missing
            window.layout.set_status(f"Your hand cannot be read with: {error}", error=True)
    root.deiconify()
    return window
