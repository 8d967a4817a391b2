"""Read any image, from a file or from memory, to grey values. What is not an image is refused in one line.

Hostile files are refused within stated limits of file size, pixels and structure.
"""

import contextlib
import io
import math
import re
import struct
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from digit_recognizer.preprocessing.sorted_values import percentile
from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line

MAX_SIDE = 640  # pixels on the longest side; larger pictures are downscaled to it
MAX_ASPECT = 2  # longest over shortest side; pictures that are longer keep more, as many pixels as one of this aspect
MIN_SIDE = 5  # pixels on the longest side
FINE = 2  # times MAX_SIDE, for pages whose digits are small
MIN_FINE = 1.3  # times the pixels of a side, which an original must have for a finer image
MAX_PIXELS = 120_000_000  # more than any telephone takes; refused before decoding
MAX_DECODED_PIXELS = 40_000_000  # only JPEG can be decoded at a fraction of its size
MIN_CHANNEL_GAIN = 1.25  # one channel replaces luminance where its spread is this many times larger
MAX_FILE_MB = 100
MAX_JPEG_SCANS = 30  # of a progressive file, each a tenth of a second over the largest picture; ten are usual
MAX_TIFF_VALUES = 100_000  # of a tag that says where the pixels are; one for each strip is usual
# Reads from a file until its size is known, and until its pixels are. A file of empty chunks keeps Python busy for
# minutes.
MAX_HEADER_READS, MAX_READS = 20_000, 400_000
MAX_PLAIN_MB = 2  # of pixels written as decimal numbers, which are read slowly
FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF")  # no EPS, which would start a program
# What people take for images, by the first bytes, and what to do about it.
OTHER_FORMATS = (
    (rb".{0,1000}%PDF-", "a PDF document; save its page as PNG"),
    (rb"....ftyp(?!.{0,60}avi[fs])(hei|hev|mif1|msf1)", "HEIC, as iPhones save photographs; export it as JPEG"),
    (rb"....ftypavi[fs]", "AVIF, which needs a newer Pillow; save it as PNG"),
    (rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01\xba", "a video; save one picture of it as PNG"),
    (rb"\0\0\0\x0cjP  |\xffO\xffQ|\0\0\0\x0cJXL |\xff\n", "JPEG 2000 or JPEG XL; save it as JPEG or PNG"),
    (rb"PK\x03\x04.{0,4000}(word/|xl/|ppt/|mimetypeapplication/vnd)", "an office document; save its picture as PNG"),
    (rb"\xd0\xcf\x11\xe0", "an office document; save its picture as PNG"),
    (rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ", "an archive; unpack it and take the pictures in it"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript, a program that draws; save it as PNG"),
    (rb"8BPS", "a Photoshop file; save it as PNG"),
    (rb"\0\0[\x01\x02]\0", "an icon; save it as PNG"),
    (rb"[^\0]{0,4000}<svg[\s>]", "an SVG drawing, not pixels; save it as PNG"),
    (rb"\s*<(!doctype )?html", "a web page; save the picture itself"),
    (
        rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*",
        "damaged at its beginning; take another copy of it",
    ),
)
# EXIF's orientation, and the transposition that turns the picture upright; 5 to 8 swap width and height.
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Picture(NamedTuple):
    """A decoded image. image: RGB, downscaled to about MAX_SIDE.

    grey: float32 (height, width), 0 black to 1 white. scale: pixels of the original per pixel of this one.
    warnings: for the user, such as that only the first frame was read. fine: the image with up to FINE times as many
    pixels on each side; None where the original has no more.
    """

    image: Image.Image
    grey: np.ndarray
    scale: float
    warnings: tuple[str, ...]
    fine: Image.Image | None


def read(source: Any) -> Picture:
    """Read a path, the bytes of a file, an open file, a Pillow image, an array or a tensor.

    Arrays: (height, width), with 1, 3 or 4 channels first or last; uint8, or numbers of any range, which are rescaled.
    Raises UserError for what is not an image, is damaged or exceeds a limit. Of the metadata only the orientation is
    used.
    """
    name = one_line(source if isinstance(source, str | Path) else getattr(source, "name", "") or "this picture")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large or odd files: the limits here replace them
        try:
            return _decode(_open(source, name), name)
        except Image.DecompressionBombError as error:
            limit = f"{MAX_PIXELS // 1_000_000} million pixels"
            raise UserError(f"{name} has more than {limit}; make it smaller") from error
        except UserError:
            raise
        except OSError as error:
            reason = error.strerror or "it is damaged or cut off"
            raise UserError(f"cannot read {name}: {reason}") from error
        except Exception as error:  # Pillow raises almost anything on corrupt bytes
            raise UserError(f"cannot read {name}: it is damaged") from error


def _open(source: Any, name: str) -> Image.Image:
    if isinstance(source, Image.Image):
        return source.copy()
    if isinstance(source, str | Path | bytes | bytearray) or hasattr(source, "read"):
        return _open_file(source, name)
    array = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)  # detach: a tensor
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] > 4:
        array = np.moveaxis(array, 0, 2)  # channels first, as in PyTorch
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise UserError(
            f"an array of shape {array.shape} is not a picture; pass (height, width) with 1, 3 or 4 channels"
        )
    if array.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(array))
    return Image.fromarray(_rescale_intensity(array.astype(np.float32)))


class _BoundedReader(io.BytesIO):
    """The bytes of a file, which may be read in a limited number of chunks."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads_left = MAX_HEADER_READS

    def read(self, size: int | None = -1) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError(0, "it is made of too many small pieces; save it as PNG")
        return super().read(size)


def _open_file(source: Any, name: str) -> Image.Image:
    """Open a path, bytes or an open file with Pillow; the size is known then, the pixels are not read yet.

    Raises UserError for what is not of FORMATS or exceeds a limit, and whatever Pillow raises where it is damaged.
    """
    content = _read_bytes(source, name)
    _check_structure(content, name)
    file = _BoundedReader(content)
    Image.init()
    try:
        image = Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN])
    except UnidentifiedImageError as error:
        raise UserError(f"{name} is not a picture that can be read: {_describe(content[:4096])}") from error
    file.reads_left = MAX_READS
    return image


def _read_bytes(source: Any, name: str) -> bytes:
    """Read a whole file from its beginning. Raises UserError where it is too large or not a file."""
    if isinstance(source, str | Path):
        return files.read(Path(source), MAX_FILE_MB, "make it smaller")
    if isinstance(source, bytes | bytearray):
        content = bytes(source)
    else:
        if hasattr(source, "seek"):
            source.seek(0)
        content = source.read(MAX_FILE_MB * 1_000_000 + 1)
    if not isinstance(content, bytes):
        raise UserError(f"{name} is open as text; open it with mode 'rb'")
    if len(content) > MAX_FILE_MB * 1_000_000:
        raise UserError(f"{name} has more than {MAX_FILE_MB} megabytes; make it smaller")
    return content


def _describe(head: bytes) -> str:
    """Say what a file is that is not an image, by its first bytes, and what to do about it."""
    for pattern, description in OTHER_FORMATS:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return f"it is {description}"
    text = head.decode("utf-8", errors="ignore")
    if text and all(letter.isprintable() or letter.isspace() for letter in text) and len(text.encode()) > len(head) - 4:
        return "it is text, not pixels"
    return "it is none of PNG, JPEG, GIF, BMP, TIFF, WebP; save it as one of them"


def _check_structure(content: bytes, name: str) -> None:
    """Raise UserError where a small file would keep its decoder busy for minutes, struct.error where a TIFF is cut."""
    if content[:2] == b"\xff\xd8":
        # The head of a scan; entropy-coded pixels never hold these bytes.
        scans = len(re.findall(rb"\xff\xda\0[\x08\x0a\x0c\x0e][\1-\4]", content))
        if scans > MAX_JPEG_SCANS:
            raise UserError(f"{name} is built of {scans:,} scans; save it anew as JPEG or PNG")
    elif content[:4] in (b"II*\0", b"MM\0*"):
        if _longest_tiff_tag(content) > MAX_TIFF_VALUES:
            raise UserError(f"{name} is cut into more than {MAX_TIFF_VALUES:,} strips; save it anew as TIFF or PNG")
    elif content[:4] in (b"II+\0", b"MM\0+"):
        raise UserError(f"{name} is not a picture that can be read: it is a BigTIFF; save it as TIFF or PNG")
    elif content[:2] in (b"P1", b"P2", b"P3") and len(content) > MAX_PLAIN_MB * 1_000_000:
        raise UserError(f"{name} has more than {MAX_PLAIN_MB} megabytes of pixels in plain letters; save it as PNG")


def _longest_tiff_tag(content: bytes) -> int:
    """Count the values of a TIFF's longest tag about the layout of its pixels; those tags are below 600."""
    order = "<" if content[:1] == b"I" else ">"
    (offset,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, offset)
    tags = [struct.unpack_from(f"{order}HHI", content, offset + 2 + 12 * number) for number in range(count)]
    return max((values for tag, _, values in tags if tag < 600), default=0)


def _decode(image: Image.Image, name: str) -> Picture:
    """Read the pixels of an opened image. Raises UserError and whatever Pillow raises."""
    width, height = image.size
    channels = max(1, len(image.getbands()) / 3)  # CMYK has 4, which a progressive JPEG keeps at full size
    _check_size(name, width, height, int(MAX_PIXELS / channels))
    if max(width, height) < MIN_SIDE:
        raise UserError(f"{name} has only {width} x {height} pixels, too few for a digit")
    max_side = round(MAX_SIDE * math.sqrt(max(1, max(width, height) / min(width, height) / MAX_ASPECT)))
    factor = max(width, height) / (FINE * max_side)
    image.draft("RGB", (max(1, int(width / factor)), max(1, int(height / factor))))  # JPEG, at 1/2 to 1/8
    _check_size(name, *image.size, MAX_DECODED_PIXELS, "save it as JPEG, or make it smaller")
    image.load()
    fine = _composite(downscale(_without_palette(image), FINE * max_side))
    if (transposition := _transposition(image)) is not None:
        fine = fine.transpose(transposition)
    rgb = downscale(fine, max_side)
    scale = max(width, height) / max(rgb.size)
    is_finer = max(fine.size) >= MIN_FINE * max(rgb.size)
    return Picture(rgb, to_grey(rgb), scale, _frame_warnings(image), fine if is_finer else None)


def _check_size(name: str, width: int, height: int, limit: int, remedy: str = "make it smaller") -> None:
    if width * height > limit:
        raise UserError(f"{name} has {width:,} x {height:,} pixels, more than {limit // 1_000_000} million; {remedy}")


def _transposition(image: Image.Image) -> Image.Transpose | None:
    """The transposition that turns an image upright; None where there is none or its metadata cannot be read."""
    with contextlib.suppress(Exception):
        return TRANSPOSITIONS.get(image.getexif().get(ExifTags.Base.Orientation, 0))
    return None


def _frame_warnings(image: Image.Image) -> tuple[str, ...]:
    """Warn where an image is one of several frames. They are not counted: there may be thousands."""
    with contextlib.suppress(Exception):  # the frames after the first may be damaged
        if getattr(image, "is_animated", False) and image.format != "MPO":  # a photograph and its preview
            return ("the first of several frames was read",)
    return ()


def _without_palette(image: Image.Image) -> Image.Image:
    """Convert to a mode whose values can be averaged: no palette, no colour key for transparency."""
    if image.mode.startswith("I;16"):
        return image.convert("I")
    if image.mode == "PA" or ("transparency" in image.info and image.mode not in ("I", "F")):
        return image.convert("RGBA")
    return image.convert({"1": "L", "P": "RGB"}[image.mode]) if image.mode in ("1", "P") else image


def downscale(image: Image.Image, max_side: int) -> Image.Image:
    """Average pixels until the longest side has at most max_side."""
    factor = max(image.size) / max_side
    if factor <= 1:
        return image
    return image.resize([max(1, round(side / factor)) for side in image.size], Image.Resampling.BOX)


def _composite(image: Image.Image) -> Image.Image:
    """Convert to RGB. Transparency is put on white; on black where nothing would show on white."""
    if image.mode in ("I", "F"):
        image = Image.fromarray(_rescale_intensity(np.asarray(image, np.float32)))
    if image.mode in ("RGBA", "LA", "RGBa", "La"):
        image = image.convert("RGBA")
        backgrounds = [Image.new("RGBA", image.size, colour) for colour in ("white", "black")]
        on_white, on_black = (Image.alpha_composite(paper, image).convert("RGB") for paper in backgrounds)
        return on_white if np.ptp(on_white.getextrema(), axis=1).max() > 16 else on_black
    return image if image.mode == "RGB" else image.convert("RGB")


def _rescale_intensity(values: np.ndarray) -> np.ndarray:
    """Map numbers of any range to uint8; a constant becomes white, NaN and infinities the minimum."""
    finite = np.isfinite(values)
    values = np.where(finite, values, values[finite].min() if finite.any() else 0)
    low, high = values.min(), values.max()
    if high <= low:
        return np.full(values.shape, 255, np.uint8)
    return ((values - low) * (255 / (high - low)) + 0.5).astype(np.uint8)


def to_grey(image: Image.Image) -> np.ndarray:
    """Luminance, or the one channel with far more contrast: coloured ink on coloured paper."""
    rgb = np.asarray(image, np.float32) / 255
    luminance = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    candidates = [luminance, *np.moveaxis(rgb, 2, 0)]
    samples = [np.sort(values[::2, ::2], axis=None) for values in candidates]
    spreads = [percentile(ordered, 99.5) - percentile(ordered, 0.5) for ordered in samples]
    best = int(np.argmax(spreads))
    return luminance if spreads[best] < MIN_CHANNEL_GAIN * spreads[0] else np.ascontiguousarray(candidates[best])
