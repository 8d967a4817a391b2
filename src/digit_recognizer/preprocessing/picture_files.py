"""A picture's file as Pillow opens it: within limits that are said, and what is no picture named as what it is."""

import io
import re
import struct
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from digit_recognizer.runtime.errors import UserError

LARGEST = 100  # megabytes that a file may have
MOST_SCANS = 30  # of a progressive JPEG, each a tenth of a second over the largest picture; ten are usual
SCAN = re.compile(rb"\xff\xda\0[\x08\x0a\x0c\x0e][\1-\4]")  # the head of one; no pixels look like it
MOST_VALUES = 100_000  # of a TIFF's tag that says how its pixels lie; a number for each strip is usual
# In so many pieces a file may be read: until the size is known, and until the pixels are. A file made of nothing but
# empty pieces keeps Python busy for minutes.
PIECES_OF_HEADER, PIECES = 20_000, 400_000
PLAIN = 2  # megabytes of pixels written as words, which are read slowly
FORMATS = ("PNG", "JPEG", "MPO", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF")  # no EPS, which would start a program
# What people take for pictures, by its first bytes.
OTHERS = (
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


class _Watched(io.BytesIO):
    """The bytes of a file, of which no more than so many pieces are handed out."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.left = PIECES_OF_HEADER

    def read(self, size: int | None = -1) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise OSError(0, "it is made of too many small pieces; save it as PNG")
        return super().read(size)


def opened(source: Any, name: str) -> Image.Image:
    """What Pillow makes of a path, bytes or an open file: its size is known, its pixels are not read yet.

    Raises UserError for what is no picture of FORMATS, too large, or made to be slow; OSError and others, with a
    message or without, where it is damaged.
    """
    content = _bytes(source, name)
    _check_structure(content, name)
    file = _Watched(content)
    Image.init()
    try:
        image = Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN])
    except UnidentifiedImageError as error:
        raise UserError(f"{name} is not a picture that can be read: {_kind(content[:4096])}") from error
    file.left = PIECES
    return image


def _bytes(source: Any, name: str) -> bytes:
    """All of a file, from its beginning. Raises UserError for one that is too large, and for what is no file."""
    too_large = UserError(f"{name} has more than {LARGEST} megabytes; make it smaller")
    if isinstance(source, str | Path):
        path = Path(source)
        if not str(source) or (path.exists() and not path.is_file()):
            raise UserError(f"'{source}' is a folder, or no ordinary file")
        if path.stat().st_size > LARGEST * 1_000_000:
            raise too_large
        return path.read_bytes()
    if isinstance(source, bytes | bytearray):
        content = bytes(source)
    else:
        if hasattr(source, "seek"):
            source.seek(0)
        content = source.read(LARGEST * 1_000_000 + 1)
    if not isinstance(content, bytes):
        raise UserError(f"{name} is open as text; open it with mode 'rb'")
    if len(content) > LARGEST * 1_000_000:
        raise too_large
    return content


def _kind(head: bytes) -> str:
    """What a file is that is no picture, by its first bytes, and what to do about it."""
    for pattern, kind in OTHERS:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return f"it is {kind}"
    text = head.decode("utf-8", errors="ignore")
    if text and all(letter.isprintable() or letter.isspace() for letter in text) and len(text.encode()) > len(head) - 4:
        return "it is text, not pixels"
    return "it is none of PNG, JPEG, GIF, BMP, TIFF, WebP; save it as one of them"


def _check_structure(content: bytes, name: str) -> None:
    """Raise UserError for what a small file can keep a decoder busy with for minutes; struct.error where it is cut."""
    if content[:2] == b"\xff\xd8":
        scans = len(SCAN.findall(content))
        if scans > MOST_SCANS:
            raise UserError(f"{name} is built of {scans:,} scans; save it anew as JPEG or PNG")
    elif content[:4] in (b"II*\0", b"MM\0*"):
        if _most_values(content) > MOST_VALUES:
            raise UserError(f"{name} is cut into more than {MOST_VALUES:,} strips; save it anew as TIFF or PNG")
    elif content[:4] in (b"II+\0", b"MM\0+"):
        raise UserError(f"{name} is not a picture that can be read: it is a BigTIFF; save it as TIFF or PNG")
    elif content[:2] in (b"P1", b"P2", b"P3") and len(content) > PLAIN * 1_000_000:
        raise UserError(f"{name} has more than {PLAIN} megabytes of pixels in plain letters; save it as PNG")


def _most_values(content: bytes) -> int:
    """How many numbers the longest of those tags of a TIFF has that say how its pixels lie; those are below 600."""
    order = "<" if content[:1] == b"I" else ">"
    (place,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, place)
    tags = [struct.unpack_from(f"{order}HHI", content, place + 2 + 12 * number) for number in range(count)]
    return max((values for tag, _, values in tags if tag < 600), default=0)
