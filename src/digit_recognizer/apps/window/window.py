"""The window's state and actions. Every error is shown in the window, and nothing drawn is lost."""

import time
import tkinter as tk
from pathlib import Path
from tkinter import filedialog, messagebox
from types import TracebackType

from digit_recognizer.apps.window.drawing import Drawing, kept_drawings
from digit_recognizer.apps.window.hand import HandControl
from digit_recognizer.apps.window.layout import Layout, shorten
from digit_recognizer.apps.window.learning import TrainingControl
from digit_recognizer.preprocessing import image_io
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recognition import marks
from digit_recognizer.recognition.prediction import BLANK, SEVERAL, Number, Prediction
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import percent

DELAY = 18  # milliseconds from a mouse movement to the prediction; the next movement, 1/60 s later, restarts it
MAX_DELAY = 0.08  # seconds after which it is no longer restarted; a prediction, about 20 ms, blocks the mouse
REST = 250  # milliseconds without a movement after which the page reader has its say, which takes longer
REASONS = {BLANK: "Nothing to read here", SEVERAL: "Several digits…"}
HINT = "Draw a digit with the mouse.   Enter: predict   Escape: clear   Ctrl-Z: undo"
MODEL_PATTERNS: str | tuple[str, ...] = ("*.pth", "*.onnx", "*.safetensors")
IMAGE_PATTERNS: str | tuple[str, ...] = ("*.png", "*.jpg", "*.jpeg", "*.gif", "*.bmp", "*.tif", "*.tiff", "*.webp")


class Window:
    """The window's state and actions; its layout holds the widgets.

    recognizer: reads the drawings; model_name: shown at the top; data_dir: where the training digits lie.
    """

    def __init__(self, root: tk.Tk, recognizer: Recognizer, model_name: str, data_dir: str | None) -> None:
        self.root, self.recognizer = root, recognizer
        _use_one_thread(recognizer)
        self.first = recognizer, model_name  # to which Forget returns
        self.drawing = Drawing()
        self.training, self.hand = TrainingControl(self, data_dir), HandControl(self, data_dir)
        self._scheduled: str | None = None  # Tk's identifier of the scheduled prediction
        self._scheduled_since = 0.0
        self._scheduled_at_rest: str | None = None  # the same of what waits until the mouse rests
        root.title("Digit Recognizer")
        root.report_callback_exception = self._show_error
        root.protocol("WM_DELETE_WINDOW", self.close)
        keys = {"Return": self.predict, "KP_Enter": self.predict, "Escape": self.clear, "Control-z": self.undo}
        for key, action in keys.items():
            root.bind(f"<{key}>", lambda event, action=action: action())  # type: ignore[misc]
        self.layout = Layout(root, self)
        self.layout.model_label.configure(text=f"Network: {model_name}")
        self.update_buttons()
        self.layout.pad.canvas.focus_set()
        self._update_prediction()
        self.show_hint()

    # drawing

    def show_hint(self) -> None:
        """Show the hint in place of an earlier message."""
        self.layout.set_status(HINT)

    def schedule_prediction(self) -> None:
        """Predict soon: once the mouse rests, or after MAX_DELAY."""
        now = time.monotonic()
        self._forget_number()
        if self._scheduled is None:
            self._scheduled_since = now
            self._pause()
        elif now - self._scheduled_since < MAX_DELAY:
            self.root.after_cancel(self._scheduled)
        else:
            return
        self._scheduled = self.root.after(DELAY, self._preview)

    def predict(self) -> None:
        """Predict now."""
        self._update_prediction()
        if self.drawing.is_empty:
            raise UserError("There is nothing to read yet: draw a digit, or open an image.")

    def clear(self) -> None:
        """Empty the canvas; this can be undone."""
        self.drawing.clear()
        self._redraw()

    def undo(self) -> None:
        """Undo the last stroke, opened image or clearing."""
        undone = self.drawing.undo()
        self._redraw()
        if not undone:
            self.layout.set_status("There is nothing to undo.")

    def open_image(self) -> None:
        """Ask for an image file, show it and read it."""
        types = [("Pictures", IMAGE_PATTERNS), ("All files", "*")]
        if path := filedialog.askopenfilename(parent=self.root, title="Open image", filetypes=types):
            picture = image_io.read(path)
            self.drawing.add(picture.fine or picture.image)  # digits on a page may be small
            self._redraw()
            self.layout.set_status("; ".join((f"Opened {path}", *picture.warnings)))

    def correct(self, label: int) -> None:
        """Keep the drawing under the right answer."""
        if self.drawing.is_empty:
            raise UserError("There is nothing to keep yet: draw a digit, or open an image.")
        self.hand.keep(label)

    def choose_folder(self) -> None:
        """Ask for the folder for kept drawings."""
        if folder := filedialog.askdirectory(
            parent=self.root, title="Folder for drawings", initialdir=self.hand.folder
        ):
            self.hand.folder = Path(folder)
            self.update_buttons()
            self.layout.set_status(f"Drawings go to {self.hand.folder}")

    def _redraw(self) -> None:
        self.show_hint()
        self.layout.pad.redraw()
        self._update_prediction()

    def _preview(self) -> None:
        """Show what the network of single digits reads, which is quick; the page reader waits until the mouse rests.

        Tk drops the movements of the mouse while it is kept busy, and a stroke would lose its corners.
        """
        self._scheduled = None
        try:
            prediction = self.recognizer.read([analyze(self.drawing.render()).digit()])[0]
            self._show_prediction(prediction)
        finally:
            self._resume()
        self._scheduled_at_rest = self.root.after(REST, self._read_at_rest)

    def _read_at_rest(self) -> None:
        self._scheduled_at_rest = None
        self._update_prediction(wait=0)

    def _update_prediction(self, wait: int = REST) -> None:
        """Read the drawing. wait: milliseconds before several digits are read."""
        if self._scheduled is not None:
            self.root.after_cancel(self._scheduled)
            self._scheduled = None
        self._forget_number()
        self._pause()
        try:
            prediction = self.recognizer.predict(self.drawing.render())
            self._show_prediction(prediction)
        finally:
            self._resume()
        if prediction.reason == SEVERAL:
            self._scheduled_at_rest = self.root.after(wait, self._update_number)

    def _forget_number(self) -> None:
        """Take back the boxes of several digits, and read no others for now."""
        self.layout.pad.show_marks(())
        if self._scheduled_at_rest is not None:
            self.root.after_cancel(self._scheduled_at_rest)
            self._scheduled_at_rest = None

    def _update_number(self) -> None:
        """Read several digits and show them, each in a box on the drawing."""
        self._scheduled_at_rest = None
        picture = self.drawing.render()
        self._pause()
        try:
            number = self.recognizer.read_number(picture)
        finally:
            self._resume()
        if number.predictions:
            self._show_number(number)
            pairs = zip(number.boxes, marks.mark_digits(number), strict=True)
            # The picture is shown as it lies, even where it was turned to be read.
            self.layout.pad.show_marks([mark._replace(box=box) for box, mark in pairs], picture.size)
        else:
            self.layout.confidence_label.configure(text="Several shapes; none like a digit")

    def _show_number(self, number: Number) -> None:
        """Show a number; bars and network input are of the digit that it is least sure of."""
        layout, weakest = self.layout, number.predictions[number.weakest]
        place = number.weakest + 1
        layout.show_number(number.lines, place)
        sure = f"{percent(number.confidence)} sure of all"
        least = "" if weakest.digit is None else f"{weakest.digit}, {percent(weakest.confidence)}{_others(weakest)}"
        least = f"least of #{place}: {least}" if least else f"#{place} was not read"
        layout.confidence_label.configure(text=f"{sure},\n{least}")
        self._show_details(weakest, number.unread)

    def _show_prediction(self, prediction: Prediction) -> None:
        digit, layout = prediction.digit, self.layout
        if digit is None:
            layout.show_digit("–" if prediction.reason == BLANK else "?", "NoDigit.TLabel")
            reason = REASONS.get(prediction.reason or "", (prediction.reason or "").capitalize())
            layout.confidence_label.configure(text="Draw a digit" if self.drawing.is_empty else reason)
        else:
            layout.show_digit(str(digit), "Digit.TLabel")
            sure = f"{percent(prediction.confidence)} sure"
            others = _others(prediction).replace(", ", ",\n", 1)
            layout.confidence_label.configure(text=sure + others)
        self._show_details(prediction, prediction.warnings)

    def _show_details(self, prediction: Prediction, warnings: tuple[str, ...]) -> None:
        """Show the ten probabilities, what the network saw, and warnings."""
        is_blank = prediction.reason == BLANK
        self.layout.bars.show((0.0,) * 10 if is_blank else prediction.probabilities, prediction.digit)
        self.layout.network_input.show(prediction.image)
        text = "; ".join(warnings)
        self.layout.warnings_label.configure(text=text[:1].upper() + text[1:])

    # models

    def load_model(self) -> None:
        """Ask for a model file and read with its network from now on."""
        types = [("Models", MODEL_PATTERNS), ("All files", "*")]
        if path := filedialog.askopenfilename(parent=self.root, title="Load model", filetypes=types):
            self.use_recognizer(Recognizer.load(path), shorten(Path(path).name))
            self.layout.set_status(f"Loaded {path}")

    def use_recognizer(self, recognizer: Recognizer, name: str) -> None:
        """Read with this recognizer from now on."""
        self.recognizer = recognizer
        _use_one_thread(recognizer)
        self.layout.model_label.configure(text=f"Network: {name}")
        self._update_prediction()

    # work beside the window

    def update_buttons(self) -> None:
        """Show what can be started, stopped and forgotten now, and how many drawings are kept."""
        layout, training, hand = self.layout, self.training.thread, self.hand.thread
        folder = self.hand.folder
        layout.folder_button.configure(
            text=f"{shorten(folder.name or str(folder), 12)} ({len(kept_drawings(folder))})…"
        )
        layout.train_button.configure(text="Train a new model" if training is None else "Stop training")
        layout.learn_button.configure(text="Learn my hand" if hand is None else "Stop")
        for button, can in (
            (layout.train_button, hand is None),
            (layout.learn_button, training is None and (hand is not None or self.hand.can_learn)),
            (layout.forget_button, hand is None and self.hand.network.exists()),
        ):
            button.state(["!disabled" if can else "disabled"])

    def _pause(self) -> None:
        self.training.pause()
        self.hand.pause()

    def _resume(self) -> None:
        self.training.resume()
        self.hand.resume()

    # closing and errors

    def close(self) -> None:
        """Close the window; ask first where a training or a trained network would be lost."""
        unsaved = self.training.unsaved_work
        if unsaved and not messagebox.askokcancel("Close", f"{unsaved}. Close all the same?", parent=self.root):
            return
        self.training.shut_down()
        self.hand.shut_down()
        self.root.destroy()

    def _show_error(self, kind: type, error: BaseException, trace: TracebackType | None) -> None:
        """Show what an action raised; Tk calls this."""
        if isinstance(error, KeyboardInterrupt):
            self.root.destroy()
        elif isinstance(error, UserError):
            self.layout.set_status(str(error), error=True)
        else:
            self.layout.set_status(f"That failed: {kind.__name__}: {error}", error=True)


def _use_one_thread(recognizer: Recognizer) -> None:
    """Leave the other cores alone: a drawing is too small for several."""
    if recognizer.uses_pytorch:
        from digit_recognizer.runtime.device import choose_device

        choose_device("cpu", threads=1)


def _others(prediction: Prediction) -> str:
    """The alternatives, such as ", or 9"; empty where there are none."""
    return "".join(f", or {other}" for other in prediction.alternatives)
