"""Damaged, enormous and adversarial pictures: an answer or one line, within the limits of time and memory."""

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, features

if sys.platform != "linux":
    pytest.skip("memory is measured as Linux counts it", allow_module_level=True)

import hostile
import stress

from digit_recognizer.apps.web import reading
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def interlaced(grey: np.ndarray) -> bytes:
    """A PNG with Adam7's seven passes, which Pillow reads but does not write. grey: uint8 (height, width)."""
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
    """Dark squares on light paper, one at each step down and across."""
    down, across = np.arange(height)[:, None], np.arange(width)
    return np.where((down % step < side) & (across % step < side), np.uint8(0), np.uint8(255))


def spiral(side: int, apart: float) -> np.ndarray:
    down, across = np.mgrid[:side, :side] - side / 2
    turns = np.hypot(down, across) / apart - np.arctan2(down, across) / (2 * np.pi)
    return np.where(turns % 1 < 0.5, np.uint8(0), np.uint8(255))


def strokes(height: int, width: int, long: int, apart: int) -> np.ndarray:
    """Vertical strokes one pixel wide, in rows."""
    down, across = np.arange(height)[:, None], np.arange(width)
    return np.where((down % (long + 2) < long) & (across % apart == 0), np.uint8(0), np.uint8(255))


def noise(height: int, width: int, share: float) -> np.ndarray:
    return np.where(np.random.default_rng(0).random((height, width)) < share, np.uint8(0), np.uint8(255))


# Valid pictures, drawn to be slow to read: at the size to which all are downscaled, and above it.
DRAWN: dict[str, Callable[[], np.ndarray]] = {
    **{f"noise, {share} ink": lambda share=share: noise(640, 640, share) for share in (0.02, 0.05, 0.1, 0.2, 0.5, 0.9)},
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
    "one line": lambda: np.pad(np.zeros((1, 640), np.uint8), ((320, 319), (0, 0)), constant_values=255),
    "slanting lines": lambda: np.where((np.indices((640, 640)).sum(0) % 3 == 0), np.uint8(0), np.uint8(255)),
    "one bar": lambda: np.pad(np.zeros((20, 600), np.uint8), ((300, 320), (20, 20)), constant_values=255),
    "five high": lambda: squares(5, 30_000, 2, 5),
    "five wide": lambda: squares(30_000, 5, 2, 5),
    "one high": lambda: squares(1, 30_000, 1, 2),
    "six high, 640 wide": lambda: squares(6, 640, 1, 2),
    "sixty high": lambda: strokes(60, 640, 17, 2),
}  # fmt: skip


def prepare(folder: Path) -> None:
    """In a worker: load the network and warm it up."""
    global _recognizer, _folder
    _folder = folder
    torch.set_num_threads(1)
    _recognizer = Recognizer.load()
    read(saved(row_of_digits(), "PNG"))


def read(content: bytes, as_number: bool = False) -> str:
    """Read a picture as command and page do. Returns a digit, no digit, or refused; anything else is raised."""
    line = hostile.timed(reading.table_row, _recognizer, "a.png", io.BytesIO(content), as_number)
    assert line.file == "a.png" and "\n" not in "".join(line)
    try:
        hostile.timed(_recognizer.read_number, content)
        answer = hostile.timed(_recognizer.predict, content)
    except UserError as error:
        assert "\n" not in str(error) and line.warnings and not line.read, str(error)
        return "refused"
    assert (answer.digit in range(10)) != bool(answer.reason)
    return "no digit" if answer.digit is None else "a digit"


def attempt_drawn(number: int) -> str:
    picture = list(DRAWN.values())[number]()
    return read(saved(Image.fromarray(picture), "PNG", compress_level=1))


def test_pictures_drawn_to_be_slow(tmp_path):
    numbers = range(0, len(DRAWN), stress.count(12, 1))
    stress.keep("drawn pictures", hostile.take_in(prepare, attempt_drawn, tmp_path, numbers, workers=1))


def page(height: int, width: int, mode: str) -> Image.Image:
    """The row of digits, repeated to that size."""
    grey = np.asarray(row_of_digits())
    grey = np.tile(grey, (-(-height // 80), -(-width // 150)))[:height, :width]
    if mode == "I;16":
        return Image.fromarray(np.uint16(grey) * 100)
    return Image.fromarray(np.float32(grey) / 7) if mode == "F" else Image.fromarray(grey).convert(mode)


def jpeg_of_scans(image: Image.Image, count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    content = saved(image, "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


def bmp_of_runs(side: int) -> bytes:
    """A run-length encoded BMP with one run a pixel."""
    body = (b"\x01\x00\x01\x01" * (side // 2) + b"\0\0") * side
    sizes = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078) + sizes + bytes(1024) + body


# At the limits, just above them, and small files that decompress to much.
ENORMOUS: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: saved(page(5000, 8000, "L"), "PNG", compress_level=1),
    "PNG of too many pixels": lambda: saved(Image.new("1", (6325, 6325)), "PNG"),
    "PNG of 100,000 pieces": lambda: saved(row_of_digits(), "PNG")[:33] + chunk(b"teXt", b"") * 100_000,
    "JPEG of many segments": lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000 + saved(row_of_digits(), "JPEG")[2:],
    "JPEG of fill bytes": lambda: b"\xff\xd8" + b"\xff" * 20_000_000 + saved(row_of_digits(), "JPEG")[2:],
    "BMP of runs": lambda: bmp_of_runs(2000),
    "GIF of remarks": lambda: saved(row_of_digits(), "GIF")[:-1] + b"!\xfe" + b"\1a" * 10_000_000 + b"\0;",
    "GIF of remarks first": lambda: b"GIF89a\x96\0\x50\0\0\0\0" + b"!\xfe" + b"\1a" * 10_000_000 + b"\0;",
    "GIF": lambda: saved(page(5000, 8000, "L"), "GIF"),
    "PGM in letters": lambda: b"P2 1900 1000 255 " + b"7 " * 1_900_000,
    "more than 100 megabytes": lambda: saved(row_of_digits(), "PNG") + bytes(101_000_000),
    **{f"PNG, {mode}": lambda mode=mode: saved(page(5000, 8000, mode), "PNG", compress_level=1)
       for mode in ("1", "RGB", "RGBA", "LA", "P", "I;16")},
    "PNG, one colour transparent": lambda: saved(page(5000, 8000, "RGB"), "PNG", transparency=(1, 2, 3)),
    "PNG, P, transparent": lambda: saved(page(5000, 8000, "P"), "PNG", transparency=bytes(range(256))),
    "PNG, interlaced": lambda: interlaced(np.asarray(page(5000, 8000, "L"))),
    "PNG, 5 high": lambda: saved(page(5, 8_000_000, "L"), "PNG", compress_level=1),
    "PNG, 5 wide": lambda: saved(page(8_000_000, 5, "RGBA"), "PNG", compress_level=1),
    "BMP": lambda: saved(page(4000, 8000, "RGB"), "BMP"),
    "WEBP": lambda: saved(page(4000, 10_000, "RGB"), "WEBP", quality=10, method=0),
    "WEBP, lossless": lambda: saved(page(4000, 10_000, "RGBA"), "WEBP", lossless=True, quality=0, method=0),
    "AVIF": lambda: saved(page(5000, 8000, "RGB"), "AVIF", speed=10, quality=20),
    **{f"TIFF, {mode}": lambda mode=mode: saved(page(5000, 8000, mode), "TIFF", compression="tiff_adobe_deflate")
       for mode in ("1", "L", "RGBA", "CMYK", "I;16", "F")},
    "TIFF, not packed": lambda: saved(page(4000, 8000, "RGB"), "TIFF"),
    "JPEG": lambda: saved(page(9000, 12_000, "RGB"), "JPEG", subsampling=0),
    "JPEG, progressive": lambda: saved(page(10_000, 12_000, "RGB"), "JPEG", progressive=True, subsampling=0),
    "JPEG, progressive, CMYK": lambda: saved(page(9000, 10_000, "CMYK"), "JPEG", progressive=True),
    "JPEG, progressive, CMYK, too large": lambda: saved(page(10_000, 12_000, "CMYK"), "JPEG", progressive=True),
    "JPEG, 65,500 wide": lambda: saved(page(1800, 65_500, "RGB"), "JPEG"),
    "JPEG of the most scans": lambda: jpeg_of_scans(Image.new("RGB", (12_000, 10_000)), 21),
    "JPEG of too many scans": lambda: jpeg_of_scans(Image.new("RGB", (1200, 1000)), 22),
}  # fmt: skip


def attempt_enormous(number: int) -> str:
    try:
        _recognizer.predict((_folder / f"enormous {number}").read_bytes())
    except UserError as error:
        assert "\n" not in str(error), str(error)
        return "refused"
    return "read"


def test_enormous_pictures(tmp_path):
    count = stress.count(8, len(ENORMOUS))
    for number, made in enumerate(list(ENORMOUS.values())[:count]):
        (tmp_path / f"enormous {number}").write_bytes(made())
    figures = hostile.take_in(prepare, attempt_enormous, tmp_path, range(count), workers=1)
    assert figures["outcomes"].keys() == {"read", "refused"}
    stress.keep("enormous pictures", figures)


def originals() -> dict[str, bytes]:
    """The row of digits in every format that people have."""
    row, exif, sixteen = row_of_digits(), Image.Exif(), page(80, 150, "I;16")
    exif[0x0112], exif[0x010F] = 3, "camera"
    colours = row.convert("RGB")
    several = {"save_all": True, "append_images": [row.rotate(180), row.point(lambda value: 255 - value)]}
    made = {
        **{f"PNG {mode}": saved(row.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
        "PNG I;16": saved(sixteen, "PNG"),
        "PNG interlaced": interlaced(np.asarray(row)),
        "PNG transparent": saved(row.quantize(), "PNG", transparency=3, exif=exif),
        "PNG animated": saved(row, "PNG", **several),
        **{f"JPEG {mode}": saved(row.convert(mode), "JPEG", exif=exif) for mode in ("L", "RGB", "CMYK")},
        "JPEG progressive": saved(colours, "JPEG", progressive=True, subsampling=0),
        "GIF": saved(row, "GIF", comment=b"a remark"),
        "GIF animated": saved(row, "GIF", **several),
        **{f"BMP {mode}": saved(row.convert(mode), "BMP") for mode in ("1", "L", "RGB", "RGBA")},
        "BMP of runs": bmp_of_runs(80),
        "WEBP": saved(colours, "WEBP", exif=exif),
        "WEBP lossless": saved(row.convert("RGBA"), "WEBP", lossless=True),
        "WEBP animated": saved(colours, "WEBP", **several),
        **{f"TIFF {mode}": saved(row.convert(mode), "TIFF") for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "F")},
        "TIFF I;16": saved(sixteen, "TIFF"),
        "TIFF group 4": saved(row.convert("1"), "TIFF", compression="group4"),
        **{f"TIFF {way}": saved(colours, "TIFF", compression=f"tiff_{way}") for way in ("lzw", "jpeg")},
        "TIFF deflated": saved(colours, "TIFF", compression="tiff_adobe_deflate"),
        "TIFF of several": saved(row, "TIFF", **several),
        "PPM": saved(colours, "PPM"),
        **{
            f"{kind}, one digit": saved(row.crop((0, 0, 60, 80)), kind)
            for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF")
        },
        "PGM in letters": b"P2 150 80 255 " + b" ".join(str(value).encode() for value in np.asarray(row).ravel()),
    }
    return made | ({"AVIF": saved(colours, "AVIF")} if features.check("avif") else {})


def overwritten(content: bytes, generator: np.random.Generator) -> bytes:
    """The bytes with extreme numbers near the beginning, where sizes and offsets are."""
    changed = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        wide = int(generator.choice([1, 2, 4]))
        most = 2 ** (8 * wide) - 1
        extreme = int(generator.choice([0, 1, most, most // 2, most // 2 + 1, 60_000]))
        place = int(generator.integers(0, min(len(content), int(generator.choice([40, 200, 1000])))))
        order = "little" if generator.random() < 0.5 else "big"
        changed[place : place + wide] = (extreme & most).to_bytes(wide, order)
    return bytes(changed)


def with_checksums(content: bytes) -> bytes:
    """A PNG with valid checksums, as far as its chunks can be told apart."""
    mended, place = content[:8], 8
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4])
        mended += content[place:end] + struct.pack(">I", zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return mended


def derived(number: int, files: dict[str, bytes]) -> bytes:
    """One of the originals with damage; every twentieth is random bytes."""
    generator = np.random.default_rng(number)
    names = sorted(files)
    content, other = (files[str(name)] for name in generator.choice(names, 2))
    if number % 20 == 0:
        return content[: int(generator.integers(0, 30))] + generator.bytes(int(generator.integers(0, 5000)))
    way = overwritten if generator.random() < 0.5 else hostile.flipped
    changed = way(content, generator) if generator.random() < 0.7 else hostile.mutated(content, other, generator)
    return with_checksums(changed) if changed[:4] == b"\x89PNG" and generator.random() < 0.7 else changed


def prepare_originals(folder: Path) -> None:
    """In a worker: the network and the originals, which can all be read."""
    global _files
    prepare(folder)
    _files = originals()
    some = list(_files.values())[:: stress.count(5, 1)]
    assert {read(content) for content in some} == {"a digit", "no digit"}


def attempt_derived(number: int) -> str:
    return read(derived(number, _files), as_number=number % 2 == 0)


def test_damaged_pictures(tmp_path):
    numbers = range(stress.count(40, 10_000))
    figures = hostile.take_in(prepare_originals, attempt_derived, tmp_path, numbers, workers=stress.count(1, 2))
    assert figures["outcomes"].keys() == {"a digit", "no digit", "refused"}
    stress.keep("hostile pictures", figures)
