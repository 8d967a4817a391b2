"""The black square to draw in with a white round brush."""

import io
import tkinter as tk
from collections.abc import Callable

from PIL import Image

from digit_recognizer.apps.window.drawing import Drawing, Stroke
from digit_recognizer.apps.window.widgets import PAPER


class Pad(tk.Frame):
    """A square canvas, as large as its place allows, that adds the mouse's movements to a drawing.

    brush: width of the brush as a fraction of the side; started, changed: called when a stroke begins, and whenever
    there is something new to be read.
    """

    def __init__(
        self,
        parent: tk.Misc,
        drawing: Drawing,
        side: int,
        started: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        super().__init__(parent, width=side, height=side, background=PAPER)
        self.brush = 0.08
        self._drawing, self._started, self._changed = drawing, started, changed
        self._side, self._line = side, 0
        self._shown: tk.PhotoImage | None = None
        self._stroke = Stroke(self.brush, [])
        self.canvas = tk.Canvas(self, background="black", highlightthickness=0, cursor="crosshair")
        self.canvas.place(x=0, y=0, width=side, height=side)
        self.bind("<Configure>", self._resize)
        self.canvas.bind("<ButtonPress-1>", self._press)
        self.canvas.bind("<B1-Motion>", self._move)

    def redraw(self) -> None:
        """Show all strokes, or the picture, anew."""
        self.canvas.delete("all")
        self._shown = None
        if self._drawing.picture is not None:
            self._shown = _photo(self._drawing.picture, self._side, self)
            self.canvas.create_image(self._side / 2, self._side / 2, image=self._shown)
        for stroke in self._drawing.strokes:
            self._draw(stroke)

    def _resize(self, event: tk.Event) -> None:
        self._side = max(1, min(event.width, event.height))
        self.canvas.place_configure(width=self._side, height=self._side)
        self.redraw()

    def _press(self, event: tk.Event) -> None:
        self.canvas.focus_set()
        self._started()
        if self._drawing.picture is not None:
            self.canvas.delete("all")
        self._stroke = Stroke(self.brush, [(event.x / self._side, event.y / self._side)])
        self._drawing.start(self._stroke)
        self._draw(self._stroke)
        self._changed()

    def _move(self, event: tk.Event) -> None:
        strokes = self._drawing.strokes
        if not (strokes and strokes[-1] is self._stroke):  # taken back by a key while the button was down
            self._press(event)
            return
        self._stroke.places.append((event.x / self._side, event.y / self._side))
        self.canvas.coords(self._line, *self._pixels(self._stroke))
        self._changed()

    def _draw(self, stroke: Stroke) -> None:
        self._line = self.canvas.create_line(
            self._pixels(stroke),
            width=stroke.width * self._side,
            fill="white",
            capstyle="round",
            joinstyle="round",
        )

    def _pixels(self, stroke: Stroke) -> list[float]:
        """across, down, across, down ...; at least two places, since Tk draws no line of one."""
        places = stroke.places if len(stroke.places) > 1 else stroke.places * 2
        return [number * self._side for place in places for number in place]


def _photo(picture: Image.Image, side: int, master: tk.Misc) -> tk.PhotoImage:
    """The picture fitted into a square, as tkinter shows it."""
    factor = side / max(picture.size)
    fitted = picture.convert("RGB").resize([max(1, round(length * factor)) for length in picture.size])
    content = io.BytesIO()
    fitted.save(content, "PPM")
    return tk.PhotoImage(master=master, data=content.getvalue(), format="PPM")
