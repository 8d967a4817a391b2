"""What the drawing window does when it is used. Whatever goes wrong is said in the window, and nothing is lost."""

import time
import tkinter as tk
from pathlib import Path
from tkinter import filedialog, messagebox
from types import TracebackType

from digit_recognizer.apps.window import drawing
from digit_recognizer.apps.window.layout import Layout, short
from digit_recognizer.apps.window.learning import Learning
from digit_recognizer.preprocessing import image_io
from digit_recognizer.recognition.recognizer import Prediction, Recognizer
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import percent

SOON = 18  # milliseconds after a movement until the drawing is read, unless there is another, as 60 a second are
OFTEN = 0.08  # seconds after which it is read all the same; movements during a reading, some 20 ms, are lost
REASONS = {"blank": "Nothing to read here", "several digits": "Several digits; one at a time"}  # in better words
HINT = "Draw a digit with the mouse.   Enter: predict   Escape: clear   Ctrl-Z: undo"
PICTURES: str | tuple[str, ...] = ("*.png", "*.jpg", "*.jpeg", "*.gif", "*.bmp", "*.tif", "*.tiff", "*.webp")


class Window:
    """The window's state and its actions; layout holds its widgets.

    recognizer: what reads the drawings; network: its name; data_dir: where the digits to train on lie.
    """

    def __init__(self, root: tk.Tk, recognizer: Recognizer, network: str, data_dir: str | None) -> None:
        self.root, self.recognizer = root, recognizer
        self.drawing, self.folder = drawing.Drawing(), Path("drawings")
        self.learning = Learning(self, data_dir)
        self._waiting: str | None = None  # Tk's name of the reading that is to come
        self._since = 0.0  # when it was first asked for
        root.title("Digit Recognizer")
        root.report_callback_exception = self._wrong
        root.protocol("WM_DELETE_WINDOW", self.close)
        for key, action in (
            ("<Return>", self.predict),
            ("<KP_Enter>", self.predict),
            ("<Escape>", self.clear),
            ("<Control-z>", self.undo),
        ):
            root.bind(key, lambda event, action=action: action())  # type: ignore[misc]
        self.layout = Layout(root, self)
        self.layout.network.configure(text=f"Network: {network}")
        self.layout.folder.configure(text=f"{self.folder}…")
        self.layout.pad.canvas.focus_set()
        self._read()
        self.layout.say(HINT)

    # drawing

    def started(self) -> None:
        """A stroke begins: what was said before is over."""
        self.layout.say(HINT)

    def changed(self) -> None:
        """Read what is drawn, soon."""
        now = time.monotonic()
        if self._waiting is None:
            self._since = now
            self.learning.pause()
        elif now - self._since < OFTEN:
            self.root.after_cancel(self._waiting)
        else:
            return
        self._waiting = self.root.after(SOON, self._read)

    def predict(self) -> None:
        """Read what is drawn, now."""
        self._read()
        if self.drawing.is_empty:
            raise UserError("There is nothing to read yet: draw a digit, or open an image.")

    def clear(self) -> None:
        """Empty the canvas; undo brings back what was there."""
        self.drawing.clear()
        self._redraw()

    def undo(self) -> None:
        """Take back the last stroke, opened image or clearing."""
        done = self.drawing.undo()
        self._redraw()
        if not done:
            self.layout.say("There is nothing to undo.")

    def set_brush(self, width: str) -> None:
        """The brush's width for the next stroke, a fraction of the canvas's side."""
        self.layout.pad.brush = float(width)

    def open_image(self) -> None:
        """Ask for an image, show and read it."""
        kinds = [("Pictures", PICTURES), ("All files", "*")]
        if path := filedialog.askopenfilename(parent=self.root, title="Open image", filetypes=kinds):
            self.show_image(path)

    def show_image(self, path: str) -> None:
        """Show and read the image of a file."""
        picture = image_io.read(path)
        self.drawing.show(picture.image)
        self._redraw()
        self.layout.say("; ".join((f"Opened {path}", *picture.warnings)))

    def save(self, label: int) -> None:
        """Keep what is drawn as a digit of that label."""
        if self.drawing.is_empty:
            raise UserError("There is nothing to save yet: draw a digit, or open an image.")
        path = drawing.save(self.drawing.image(), self.folder, label)
        self.layout.say(f"Saved {path}")

    def choose_folder(self) -> None:
        """Ask where drawings are to be kept."""
        if folder := filedialog.askdirectory(parent=self.root, title="Folder for drawings", initialdir="."):
            self.folder = Path(folder)
            self.layout.folder.configure(text=f"{short(self.folder.name or folder)}…")
            self.layout.say(f"Drawings go to {self.folder}")

    def _redraw(self) -> None:
        self.layout.say(HINT)
        self.layout.pad.redraw()
        self._read()

    def _read(self) -> None:
        if self._waiting is not None:
            self.root.after_cancel(self._waiting)
            self._waiting = None
        self.learning.pause()
        try:
            self._show(self.recognizer.predict(self.drawing.image()))
        finally:
            self.learning.go_on()

    def _show(self, prediction: Prediction) -> None:
        digit, layout = prediction.digit, self.layout
        if digit is None:
            layout.digit.configure(text="–" if prediction.reason == "blank" else "?", style="NoDigit.TLabel")
            reason = REASONS.get(prediction.reason or "", (prediction.reason or "").capitalize())
            layout.says.configure(text="Draw a digit" if self.drawing.is_empty else reason)
        else:
            layout.digit.configure(text=str(digit), style="Digit.TLabel")
            layout.says.configure(text=f"{percent(prediction.confidence)} sure")
        asked = prediction.reason != "blank"
        layout.bars.show(prediction.probabilities if asked else (0.0,) * 10, digit)
        layout.seen.show(prediction.image)
        noticed = "; ".join(prediction.warnings)
        layout.noticed.configure(text=noticed[:1].upper() + noticed[1:])

    # networks

    def load_model(self) -> None:
        """Ask for a model and read with it from now on."""
        kinds = [("Models", "*.pth"), ("All files", "*")]
        if path := filedialog.askopenfilename(parent=self.root, title="Load model", filetypes=kinds):
            self.use_model(path)

    def use_model(self, path: str) -> None:
        """Read with the network of a file from now on."""
        self.use(Recognizer.load(path), short(Path(path).name))
        self.layout.say(f"Loaded {path}")

    def use(self, recognizer: Recognizer, name: str) -> None:
        """Read with this network from now on."""
        self.recognizer = recognizer
        self.layout.network.configure(text=f"Network: {name}")
        self._read()

    # the end

    def close(self) -> None:
        """Close the window; asks first where a training or a trained network would be lost."""
        lost = self.learning.would_be_lost
        if lost and not messagebox.askokcancel("Close", f"{lost}. Close all the same?", parent=self.root):
            return
        self.learning.end()
        self.root.destroy()

    def _wrong(self, kind: type, error: BaseException, trace: TracebackType | None) -> None:
        """Whatever an action raised: said in the window. Tk calls this."""
        if isinstance(error, KeyboardInterrupt):
            self.root.destroy()
            return
        self.layout.say(
            str(error) if isinstance(error, UserError) else f"That failed: {kind.__name__}: {error}", wrong=True
        )
