"""Pictures that are damaged, enormous, or full of what is no digit: an answer or one line, soon and in little memory."""

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

if sys.platform != "linux":
    pytest.skip("memory is measured as Linux counts it", allow_module_level=True)

import hostile
import soak

from digit_recognizer import pictures
from digit_recognizer.apps import page_reading
from digit_recognizer.errors import UserError
from digit_recognizer.recognizer import Recognizer


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def interlaced(grey: np.ndarray) -> bytes:
    """A PNG whose pixels come in Adam7's seven passes, which Pillow reads but does not write. grey: uint8."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [np.pad(grey[top::down, left::across], ((0, 0), (1, 0))) for top, left, down, across in passes]
    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 1)
    content = zlib.compress(b"".join(part.tobytes() for part in parts), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def row_of_digits() -> Image.Image:
    """Three digits in ink, grey, 150 wide and 80 high."""
    image = Image.new("L", (150, 80), 240)
    pen = ImageDraw.Draw(image)
    pen.line((20, 15, 45, 15, 28, 65), fill=20, width=6)
    pen.line((75, 12, 75, 66), fill=30, width=7)
    pen.ellipse((100, 15, 135, 65), outline=25, width=6)
    return image


def squares(height: int, width: int, side: int, step: int) -> np.ndarray:
    """Dark squares of that side on light paper, one at each step down and across."""
    down, across = np.arange(height)[:, None], np.arange(width)
    return np.where((down % step < side) & (across % step < side), np.uint8(0), np.uint8(255))


def spiral(side: int, apart: float) -> np.ndarray:
    down, across = np.mgrid[:side, :side] - side / 2
    turns = np.hypot(down, across) / apart - np.arctan2(down, across) / (2 * np.pi)
    return np.where(turns % 1 < 0.5, np.uint8(0), np.uint8(255))


def strokes(height: int, width: int, long: int, apart: int) -> np.ndarray:
    """Upright strokes a pixel wide and so long, in rows."""
    down, across = np.arange(height)[:, None], np.arange(width)
    return np.where((down % (long + 2) < long) & (across % apart == 0), np.uint8(0), np.uint8(255))


def noise(height: int, width: int, ink: float) -> np.ndarray:
    return np.where(np.random.default_rng(0).random((height, width)) < ink, np.uint8(0), np.uint8(255))


# Pictures that are whole, and drawn to be slow to read: at the size to which all are reduced, and beyond it.
DRAWN: dict[str, Callable[[], np.ndarray]] = {
    **{f"noise, {ink} of it ink": lambda ink=ink: noise(640, 640, ink) for ink in (0.02, 0.05, 0.1, 0.2, 0.5, 0.9)},
    "noise of any grey": lambda: np.random.default_rng(0).integers(0, 256, (640, 640), np.uint8),
    "noise in colours": lambda: np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8),
    "noise, large": lambda: np.random.default_rng(0).integers(0, 256, (4000, 4000), np.uint8),
    **{f"checkerboard of {side}": lambda side=side: 255 * np.uint8(np.indices((640, 640)).sum(0) // side % 2)
       for side in (1, 2, 8, 40)},
    **{f"specks of {side}": lambda side=side: squares(640, 640, side, 2 * side + 1) for side in (1, 2, 4, 8, 16)},
    **{f"strokes {apart} apart": lambda apart=apart: strokes(640, 640, 17, apart) for apart in (2, 3, 8)},
    "long strokes": lambda: strokes(640, 640, 300, 2),
    "stripes": lambda: strokes(640, 640, 640, 2),
    "stripes across": lambda: strokes(640, 640, 640, 2).T.copy(),
    "level dashes": lambda: strokes(640, 640, 100, 3).T.copy(),
    **{f"grid of {step}": lambda step=step: 255 - squares(640, 640, step - 1, step) for step in (2, 3, 5, 17)},
    **{f"spiral, {apart} apart": lambda apart=apart: spiral(640, apart) for apart in (4, 10, 40)},
    "one line": lambda: np.where(np.arange(640)[:, None] == 320, np.uint8(0), np.uint8(255)) + np.zeros((640, 640), np.uint8),
    "one bar": lambda: np.pad(np.zeros((20, 600), np.uint8), ((300, 320), (20, 20)), constant_values=255),
    "five high": lambda: squares(5, 30_000, 2, 5),
    "five wide": lambda: squares(30_000, 5, 2, 5),
    "one high": lambda: squares(1, 30_000, 1, 2),
    "six high, as wide as is read": lambda: squares(6, 640, 1, 2),
    "sixty high": lambda: strokes(60, 640, 17, 2),
}  # fmt: skip


def prepare(folder: Path) -> None:
    """In a worker: the network, which has read something."""
    global _recognizer
    torch.set_num_threads(1)
    _recognizer = Recognizer.load()
    read(saved(row_of_digits(), "PNG"))


def read(content: bytes) -> str:
    """What comes of a picture in each of the ways in which it is read: "refused" or "read"; anything else is raised."""
    found = set()
    for way in (_recognizer.predict, _recognizer.read_number):
        try:
            way(content)
            found.add("read")
        except UserError as error:
            assert "\n" not in str(error), str(error)
            found.add("refused")
    for whole in (False, True):
        line = page_reading.row(_recognizer, "a.png", io.BytesIO(content), whole)
        assert line["file"] == "a.png" and "\n" not in "".join(line.values())
    return " and ".join(sorted(found))


def attempt_drawn(number: int) -> str:
    picture = list(DRAWN.values())[number]()
    return read(saved(Image.fromarray(picture), "PNG", compress_level=1))


def test_what_is_drawn_to_be_slow(tmp_path):
    figures = hostile.take_in(prepare, attempt_drawn, tmp_path, range(len(DRAWN)), workers=1)
    assert figures["slowest_seconds"] < 4 * hostile.SECONDS and figures["most_megabytes"] < hostile.MEGABYTES
    soak.keep("drawn pictures", figures)
