"""The drawing as steps that can be undone, as a Pillow image, and as a file.

Points and widths are fractions of the canvas's side, so that a drawing does not depend on the window's size.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError

IMAGE_SIDE = 200  # pixels of the rendered image


class Stroke(NamedTuple):
    """One stroke of the brush. width: of the brush; points: x and y, at least one point."""

    width: float
    points: list[tuple[float, float]]


class Drawing:
    """Strokes or an opened image. A stroke, an opened image and a clearing can each be undone."""

    def __init__(self) -> None:
        self._steps: list[Stroke | Image.Image | None] = []  # None: a clearing

    @property
    def opened_image(self) -> Image.Image | None:
        """The opened image, if one is shown."""
        last = self._steps[-1] if self._steps else None
        return last if isinstance(last, Image.Image) else None

    @property
    def strokes(self) -> list[Stroke]:
        """The visible strokes, in the order in which they were drawn."""
        visible = []
        for step in reversed(self._steps):
            if not isinstance(step, Stroke):
                break
            visible.append(step)
        return visible[::-1]

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a stroke nor an image."""
        return not self.strokes and self.opened_image is None

    def add(self, step: Stroke | Image.Image) -> None:
        """Add a stroke, which may grow afterwards, or an opened image. Each replaces what is of the other kind."""
        self._steps.append(step)

    def clear(self) -> None:
        """Empty the canvas."""
        if not self.is_empty:
            self._steps.append(None)

    def undo(self) -> bool:
        """Undo the last step. Returns False if there is none."""
        if not self._steps:
            return False
        self._steps.pop()
        return True

    def render(self) -> Image.Image:
        """Return the opened image, or the strokes in white on black, IMAGE_SIDE pixels square."""
        if self.opened_image is not None:
            return self.opened_image
        fine = 2 * IMAGE_SIDE  # antialiasing: drawn twice as large, then averaged
        image = Image.new("L", (fine, fine))
        pen = ImageDraw.Draw(image)
        for stroke in self.strokes:
            width = max(1, round(stroke.width * fine))
            # Pillow's coordinates start at the middle of a pixel, those of a window at its corner.
            points = [(x * fine - 0.5, y * fine - 0.5) for x, y in stroke.points]
            pen.line(points, fill=255, width=width, joint="curve")
            for point in (points[0], points[-1]):  # round ends; a single point has no line
                pen.circle(point, width / 2, fill=255)
        return image.reduce(2)


def kept_drawings(folder: Path) -> list[tuple[Path, int]]:
    """The drawings of a folder that save_drawing saved, and their labels, by name."""
    names = re.compile(r"[0-9]_[0-9]+\.png")
    try:
        return [(path, int(path.name[0])) for path in sorted(folder.iterdir()) if names.fullmatch(path.name)]
    except OSError:  # it does not exist yet, or is no folder
        return []


def save_drawing(image: Image.Image, folder: str | Path, label: int) -> Path:
    """Save a drawing as label_number.png, such as 7_0001.png, with the next free number. Raises UserError."""
    path = _next_path(Path(folder), label)
    content = io.BytesIO()
    image.save(content, "PNG")
    files.write_atomically(path, content.getvalue())
    return path


def relabel_drawing(path: Path, label: int) -> Path:
    """Rename a saved drawing to another label and its next free number. Raises UserError."""
    with _explaining(path):
        return path.rename(_next_path(path.parent, label))


def delete_drawing(path: Path) -> None:
    """Delete a saved drawing, if it is still there. Raises UserError."""
    with _explaining(path):
        path.unlink(missing_ok=True)


def _next_path(folder: Path, label: int) -> Path:
    try:
        names = [path.stem for path in folder.iterdir()] if folder.exists() else []
    except OSError as error:
        raise UserError(f"cannot write to the folder {folder}: {error.strerror}; choose another") from error
    numbers = [int(name[2:]) for name in names if name.startswith(f"{label}_") and name[2:].isdecimal()]
    return folder / f"{label}_{max(numbers, default=0) + 1:04}.png"


@contextlib.contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Raise UserError where a drawing cannot be changed."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot change {path}: {error.strerror or error}") from error
