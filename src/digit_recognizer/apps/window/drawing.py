"""What is on the canvas, as steps that can be undone, and as a Pillow image; and how drawings are kept.

Places and widths are fractions of the canvas's side, so that a drawing is the same at every size of the window.
"""

import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError

SIDE = 200  # pixels of the image that is made of a drawing


class Stroke(NamedTuple):
    """One movement of the brush. width: of the brush; places: across and down, at least one."""

    width: float
    places: list[tuple[float, float]]


class Drawing:
    """Strokes or an opened picture. Nothing is ever lost: undo takes back a stroke, an opened picture or a clearing."""

    def __init__(self) -> None:
        self._steps: list[Stroke | Image.Image | None] = []  # None: all was cleared

    @property
    def picture(self) -> Image.Image | None:
        """The opened picture, where one is shown."""
        last = self._steps[-1] if self._steps else None
        return last if isinstance(last, Image.Image) else None

    @property
    def strokes(self) -> list[Stroke]:
        """The strokes that are to be seen, in the order in which they were drawn."""
        seen = []
        for step in reversed(self._steps):
            if not isinstance(step, Stroke):
                break
            seen.append(step)
        return seen[::-1]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be read."""
        return not self.strokes and self.picture is None

    def start(self, stroke: Stroke) -> None:
        """Put the brush down; a picture that is shown gives way. The stroke may grow afterwards."""
        self._steps.append(stroke)

    def show(self, picture: Image.Image) -> None:
        """Show an opened picture instead of what is there."""
        self._steps.append(picture)

    def clear(self) -> None:
        """Leave nothing to be seen."""
        if not self.is_empty:
            self._steps.append(None)

    def undo(self) -> bool:
        """Take the last step back. Returns whether there was one."""
        if not self._steps:
            return False
        self._steps.pop()
        return True

    def image(self) -> Image.Image:
        """The opened picture, or the strokes in white on black, SIDE pixels square."""
        if self.picture is not None:
            return self.picture
        fine = 2 * SIDE  # and then the mean of each four pixels, for smooth edges
        image = Image.new("L", (fine, fine))
        pen = ImageDraw.Draw(image)
        for stroke in self.strokes:
            width = max(1, round(stroke.width * fine))
            # Pillow counts from the middle of a pixel, a window from its corner.
            places = [(across * fine - 0.5, down * fine - 0.5) for across, down in stroke.places]
            pen.line(places, fill=255, width=width, joint="curve")
            for across, down in (places[0], places[-1]):  # round ends; and a dot, which is no line at all
                pen.circle((across, down), width / 2, fill=255)
        return image.reduce(2)


def save(image: Image.Image, folder: str | Path, label: int) -> Path:
    """Keep a drawing under its true label, as 7_0001.png, beside those that are there. Raises UserError."""
    folder = Path(folder)
    try:
        names = [path.stem for path in folder.iterdir()] if folder.exists() else []
    except OSError as error:
        raise UserError(f"cannot write to the folder {folder}: {error.strerror}; choose another") from error
    numbers = [int(name[2:]) for name in names if name.startswith(f"{label}_") and name[2:].isdecimal()]
    path = folder / f"{label}_{max(numbers, default=0) + 1:04}.png"
    content = io.BytesIO()
    image.save(content, "PNG")
    files.write_atomically(path, content.getvalue())
    return path
