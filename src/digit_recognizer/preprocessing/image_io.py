"""Any picture, from a file or from memory, to grey values; what is none is refused in one line."""

import contextlib
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from digit_recognizer.preprocessing import picture_files
from digit_recognizer.runtime.errors import UserError

LONGEST = 640  # pixels on the longest side to which larger pictures are reduced
DRAFT = 1.5  # times as long, at least, JPEGs are decoded where they are larger
MOST = 120_000_000  # pixels, more than any telephone takes; refused before decoding
MOST_WHOLE = 40_000_000  # pixels of what cannot be decoded at a part of its size, as only JPEG can
SMALLEST = 5  # pixels on the longest side
WIDER = 1.25  # by which one colour's spread must exceed that of luminance to be looked at alone
# How a camera was held, as EXIF numbers it, and how to turn its picture upright; quarter turns swap the sides.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Picture(NamedTuple):
    """A picture that was read. image: RGB, at most LONGEST wide and high; warnings: what was noticed, in plain words.

    grey: float32 (height, width) from 0, black, to 1, white. scale: of its pixels, in pixels of the original.
    """

    image: Image.Image
    grey: np.ndarray
    scale: float
    warnings: tuple[str, ...]


def read(source: Any) -> Picture:
    """Read a picture: a path, the bytes of a file, an open file, a Pillow image, or an array.

    Arrays and tensors: (height, width), with 1, 3 or 4 colours before or after, uint8, or numbers of any range, which
    is then stretched.
    Raises UserError for what is no picture, is damaged, has too many or too few pixels, or is too large a file. Of what
    a file says beside its pixels only the orientation is used.
    """
    name = str(source) if isinstance(source, str | Path) else getattr(source, "name", "") or "this picture"
    name = "".join(letter if letter.isprintable() else "?" for letter in str(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large pictures and odd files, are ours to say
        try:
            image = _opened(source, name)
            return _read(image, name)
        except Image.DecompressionBombError as error:
            raise UserError(f"{name} has more than {MOST // 1_000_000} million pixels; make it smaller") from error
        except UserError:
            raise
        except OSError as error:
            reason = error.strerror or "it is damaged or cut off"
            raise UserError(f"cannot read {name}: {reason}") from error
        except Exception as error:  # whatever a stranger's bytes lead Pillow to
            raise UserError(f"cannot read {name}: it is damaged") from error


def _opened(source: Any, name: str) -> Image.Image:
    if isinstance(source, Image.Image):
        return source.copy()
    if isinstance(source, str | Path | bytes | bytearray) or hasattr(source, "read"):
        return picture_files.opened(source, name)
    array = np.asarray(source.detach().cpu() if hasattr(source, "detach") else source)  # a tensor, perhaps
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] > 4:
        array = np.moveaxis(array, 0, 2)  # as PyTorch has its pictures
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise UserError(
            f"an array of the shape {array.shape} is no picture; it must be (height, width), or have 3 or 4 colours"
        )
    if array.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(array))
    return Image.fromarray(_stretched(array.astype(np.float32)))


def _read(image: Image.Image, name: str) -> Picture:
    """A picture that is opened. Raises UserError and whatever Pillow raises."""
    width, height = image.size
    inks = max(1, len(image.getbands()) / 3)  # of printers there are four, which a progressive JPEG keeps at full size
    _check_size(name, width, height, int(MOST / inks))
    if max(width, height) < SMALLEST:
        raise UserError(f"{name} has only {width} x {height} pixels, too few for a digit")
    factor = max(width, height) / (DRAFT * LONGEST)
    image.draft("RGB", (max(1, int(width / factor)), max(1, int(height / factor))))  # JPEG, a half to an eighth at once
    _check_size(name, *image.size, MOST_WHOLE, "; save it as JPEG, or make it smaller")
    image.load()
    turn = _turn(image)
    colour = _on_paper(_reduced(_with_values(image)))
    colour = colour if turn is None else colour.transpose(turn)
    quarter = turn in (TURNS[5], TURNS[6], TURNS[7], TURNS[8])
    scale = width / (colour.size[1] if quarter else colour.size[0])
    return Picture(colour, _grey(colour), scale, _notices(image))


def _check_size(name: str, width: int, height: int, most: int, remedy: str = "; make it smaller") -> None:
    if width * height > most:
        raise UserError(f"{name} has {width:,} x {height:,} pixels, more than {most // 1_000_000} million{remedy}")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How to turn a picture upright; None where it is, or where what it says of that cannot be read."""
    with contextlib.suppress(Exception):
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 0))
    return None


def _notices(image: Image.Image) -> tuple[str, ...]:
    """What is to be said of a picture: that it is one of several. They are not counted: there may be thousands."""
    several = False
    with contextlib.suppress(Exception):  # what comes after the first may be damaged
        several = getattr(image, "is_animated", False) and image.format != "MPO"  # a photograph with its own small copy
    return ("the first of several frames was read",) if several else ()


def _with_values(image: Image.Image) -> Image.Image:
    """A picture whose pixels are values of which means can be taken: no palette, no single colour for transparency."""
    if image.mode.startswith("I;16"):
        return image.convert("I")
    if image.mode == "PA" or ("transparency" in image.info and image.mode not in ("I", "F")):
        return image.convert("RGBA")
    return image.convert({"1": "L", "P": "RGB"}[image.mode]) if image.mode in ("1", "P") else image


def _reduced(image: Image.Image) -> Image.Image:
    """At most LONGEST on the longest side, each pixel the mean of those that it stands for."""
    factor = max(image.size) / LONGEST
    if factor <= 1:
        return image
    return image.resize([max(1, round(side / factor)) for side in image.size], Image.Resampling.BOX)


def _on_paper(image: Image.Image) -> Image.Image:
    """RGB, transparency laid on white; on black where nothing would show on white."""
    if image.mode in ("I", "F"):
        image = Image.fromarray(_stretched(np.asarray(image, np.float32)))
    if image.mode in ("RGBA", "LA", "RGBa", "La"):
        image = image.convert("RGBA")
        papers = [Image.new("RGBA", image.size, paper) for paper in ("white", "black")]
        on_white, on_black = (Image.alpha_composite(paper, image).convert("RGB") for paper in papers)
        shows = np.ptp(np.asarray(on_white), axis=(0, 1)).max() > 16
        return on_white if shows else on_black
    return image if image.mode == "RGB" else image.convert("RGB")


def _stretched(values: np.ndarray) -> np.ndarray:
    """Numbers of any range to uint8; one value everywhere becomes white. Numbers that are none count as the least."""
    finite = np.isfinite(values)
    values = np.where(finite, values, values[finite].min() if finite.any() else 0)
    low, high = values.min(), values.max()
    if high <= low:
        return np.full(values.shape, 255, np.uint8)
    return ((values - low) * (255 / (high - low)) + 0.5).astype(np.uint8)


def _grey(image: Image.Image) -> np.ndarray:
    """Luminance, or the one colour in which far more is to be seen: coloured ink on coloured paper."""
    colours = np.asarray(image, np.float32) / 255
    luminance = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    candidates = [luminance, *np.moveaxis(colours, 2, 0)]
    spreads = [np.subtract(*np.percentile(values[::2, ::2], (99.5, 0.5))) for values in candidates]
    best = int(np.argmax(spreads))
    return luminance if spreads[best] < WIDER * spreads[0] else np.ascontiguousarray(candidates[best])
