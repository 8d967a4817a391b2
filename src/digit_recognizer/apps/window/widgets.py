"""The drawing pad, and what shows predictions and training. Lengths are in 1/96 inch, times the scale of the screen."""

import io
import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import font
from typing import Any

import numpy as np
from PIL import Image

from digit_recognizer.apps.window.drawing import Drawing, Stroke
from digit_recognizer.recognition.marks import Mark
from digit_recognizer.runtime.text import percent

BLUE, GREY, PALE, TEXT, PAPER = "#0072B2", "#A6A6A6", "#E3E3E3", "#222222", "#FAFAFA"


class DrawingPad(tk.Frame):
    """A square black canvas, as large as its frame allows, that adds the mouse's strokes to a drawing.

    brush_width: of the next stroke, a fraction of the side; on_press, on_change: called when it begins and grows.
    """

    def __init__(
        self, parent: tk.Misc, drawing: Drawing, side: int, on_press: Callable[[], None], on_change: Callable[[], None]
    ) -> None:
        super().__init__(parent, width=side, height=side, background=PAPER)
        self.brush_width = tk.DoubleVar(self, 0.08)
        self._drawing, self._on_press, self._on_change = drawing, on_press, on_change
        self._side, self._line = side, 0
        self._photo: tk.PhotoImage | None = None  # tkinter itself keeps no reference to it
        self._stroke = Stroke(0, [])
        self._marks: Sequence[Mark] = ()
        self._marked_size = (1, 1)
        self.canvas = tk.Canvas(self, background="black", highlightthickness=0, cursor="crosshair")
        self.canvas.place(x=0, y=0, width=side, height=side)
        self.bind("<Configure>", self._resize)
        self.canvas.bind("<ButtonPress-1>", self._press)
        self.canvas.bind("<B1-Motion>", self._move)

    def redraw(self) -> None:
        """Draw all strokes, or the opened image, anew."""
        self.canvas.delete("all")
        self._photo = None
        if self._drawing.opened_image is not None:
            self._photo = fit_photo(self._drawing.opened_image, self._side, self)
            self.canvas.create_image(self._side / 2, self._side / 2, image=self._photo)
        for stroke in self._drawing.strokes:
            self._draw_stroke(stroke)
        self.show_marks(self._marks, self._marked_size)

    def show_marks(self, marks: Sequence[Mark], size: tuple[int, int] = (1, 1)) -> None:
        """Show boxes over the drawing, in place of the earlier ones. size: of the picture in whose pixels they are."""
        self.canvas.delete("marks")
        self._marks, self._marked_size = marks, size
        scale = self._side / max(size)
        across, down = ((self._side - length * scale) / 2 for length in size)
        lowest = font.nametofont("EmphasisFont", root=self).metrics("linespace")  # of a text at the upper edge
        for mark in marks:
            left, top, right, bottom = (side * scale for side in mark.box)
            left, top, right, bottom = left + across - 2, top + down - 2, right + across + 2, bottom + down + 2
            self.canvas.create_rectangle(left, top, right, bottom, outline=mark.colour, width=2, tags="marks")
            text = self.canvas.create_text(
                (left + 2, max(top, lowest)), text=mark.text, anchor="sw", font="EmphasisFont", fill=mark.text_colour,
                tags="marks",
            )  # fmt: skip
            ground = self.canvas.bbox(text)
            self.canvas.create_rectangle(*ground, fill=mark.colour, width=0, tags="marks")
            self.canvas.tag_raise(text)

    def _resize(self, event: tk.Event) -> None:
        self._side = max(1, min(event.width, event.height))
        self.canvas.place_configure(width=self._side, height=self._side)
        self.redraw()

    def _press(self, event: tk.Event) -> None:
        self.canvas.focus_set()
        self._on_press()
        if self._drawing.opened_image is not None:
            self.canvas.delete("all")
        self._stroke = Stroke(self.brush_width.get(), [(event.x / self._side, event.y / self._side)])
        self._drawing.add(self._stroke)
        self._draw_stroke(self._stroke)
        self._on_change()

    def _move(self, event: tk.Event) -> None:
        strokes = self._drawing.strokes
        if not (strokes and strokes[-1] is self._stroke):  # undone by a key while the button was down
            self._press(event)
            return
        self._stroke.points.append((event.x / self._side, event.y / self._side))
        self.canvas.coords(self._line, *self._to_pixels(self._stroke))
        self._on_change()

    def _draw_stroke(self, stroke: Stroke) -> None:
        width = stroke.width * self._side
        points = self._to_pixels(stroke)
        self._line = self.canvas.create_line(points, width=width, fill="white", capstyle="round", joinstyle="round")

    def _to_pixels(self, stroke: Stroke) -> list[float]:
        """Return x, y, x, y ... of at least two points, since Tk draws no line of one."""
        points = stroke.points if len(stroke.points) > 1 else stroke.points * 2
        return [coordinate * self._side for point in points for coordinate in point]


def fit_photo(image: Image.Image, side: int, master: tk.Misc) -> tk.PhotoImage:
    """Scale an image to fit a square, as a PhotoImage."""
    scale = side / max(image.size)
    fitted = image.convert("RGB").resize([max(1, round(length * scale)) for length in image.size])
    content = io.BytesIO()
    fitted.save(content, "PPM")
    return tk.PhotoImage(master=master, data=content.getvalue(), format="PPM")


class ProbabilityBars(tk.Canvas):
    """Ten bars, one a digit; that of the predicted digit in blue."""

    def __init__(self, parent: tk.Misc, scale: float) -> None:
        super().__init__(parent, width=200 * scale, height=230 * scale, background=PAPER, highlightthickness=0)
        self._scale = scale
        self.show((0.0,) * 10, None)
        self.bind("<Configure>", lambda event: self._draw())

    def show(self, probabilities: tuple[float, ...], predicted: int | None) -> None:
        """Show ten probabilities, 0 to 1."""
        self._probabilities, self._predicted = probabilities, predicted
        self._draw()

    def _draw(self) -> None:
        self.delete("all")
        row = self.winfo_height() / 10
        half = min(row / 2 - 2 * self._scale, 12 * self._scale)  # of a bar's height
        left, right = 22 * self._scale, self.winfo_width() - 62 * self._scale
        for digit, probability in enumerate(self._probabilities):
            predicted = digit == self._predicted
            y = row * (digit + 0.5)
            style = "EmphasisFont" if predicted else "TkDefaultFont"
            self.create_text(left - 8 * self._scale, y, text=digit, anchor="e", fill=TEXT, font=style)
            self.create_rectangle(left, y - half, right, y + half, fill=PALE, width=0)
            end = left + (right - left) * probability
            if end - left >= 1:
                self.create_rectangle(left, y - half, end, y + half, fill=BLUE if predicted else GREY, width=0)
            text = percent(probability) if any(self._probabilities) else ""
            self.create_text(self.winfo_width(), y, text=text, anchor="e", fill=TEXT, font=style)


class NetworkInput(tk.Canvas):
    """The 28x28 pixels that the network sees, enlarged."""

    def __init__(self, parent: tk.Misc, scale: float) -> None:
        self._factor = max(1, round(5 * scale))
        side = 28 * self._factor
        super().__init__(parent, width=side, height=side, background="black", highlightthickness=0)

    def show(self, image: np.ndarray) -> None:
        """Show uint8 (28, 28), foreground bright."""
        small = tk.PhotoImage(master=self, data=b"P5 28 28 255\n" + image.tobytes(), format="PPM")
        self._photo = small.zoom(self._factor)  # tkinter itself keeps no reference to it
        self.delete("all")
        self.create_image(0, 0, image=self._photo, anchor="nw")


class TrainingCurve(tk.Canvas):
    """The training accuracy after each epoch so far."""

    def __init__(self, parent: tk.Misc, scale: float) -> None:
        super().__init__(parent, width=190 * scale, height=95 * scale, background="white", highlightthickness=1)
        self.configure(highlightbackground=PALE)
        self._scale = scale
        self.show(10, [])
        self.bind("<Configure>", lambda event: self._draw())

    def show(self, epochs: int, history: list[dict[str, Any]]) -> None:
        """Show the history so far of a training of that many epochs."""
        self._epochs, self._history = epochs, list(history)
        self._draw()

    def _draw(self) -> None:
        self.delete("all")
        small, line = "SmallFont", font.nametofont("SmallFont", root=self).metrics("linespace")
        left = font.nametofont(small, root=self).measure("100 %") + 10 * self._scale
        right, top = self.winfo_width() - 12 * self._scale, line / 2 + 4 * self._scale
        bottom = self.winfo_height() - line - 6 * self._scale
        accuracies = [epoch["train_accuracy"] for epoch in self._history]
        low = min([0.9, *(int(accuracy * 10) / 10 for accuracy in accuracies)])

        def point(epoch: int, accuracy: float) -> tuple[float, float]:
            fraction = (epoch - 1) / max(1, self._epochs - 1)
            return left + (right - left) * fraction, bottom - (bottom - top) * (accuracy - low) / (1 - low)

        for accuracy in (low, (1 + low) / 2, 1.0):
            x, y = point(1, accuracy)
            self.create_line(x, y, right, y, fill=PALE)
            self.create_text(x - 5 * self._scale, y, text=f"{accuracy:.0%}", anchor="e", font=small, fill=TEXT)
        below = bottom + 3 * self._scale
        for x, text in ((left, "1"), ((left + right) / 2, "epoch"), (right, f"{self._epochs}")):
            self.create_text(x, below, text=text, anchor="n", font=small, fill=TEXT)
        points = [point(epoch["epoch"], epoch["train_accuracy"]) for epoch in self._history]
        if len(points) > 1:
            self.create_line(points, fill=BLUE, width=2 * self._scale)
        radius = 3 * self._scale
        for x, y in points:
            self.create_oval(x - radius, y - radius, x + radius, y + radius, fill=BLUE, outline="")
