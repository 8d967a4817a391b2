"""Any picture, from a file or from memory, to grey values; what is none is refused in one line."""

import io
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from digit_recognizer.errors import UserError

LONGEST = 640  # pixels on the longest side to which larger pictures are reduced
MOST = 120_000_000  # pixels, more than any telephone takes; refused before decoding
SMALLEST = 5  # pixels on the longest side
WIDER = 1.25  # by which one colour's spread must exceed that of luminance to be looked at alone


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
    Raises UserError for what is no picture, is damaged, or has too many or too few pixels.
    """
    name = str(source) if isinstance(source, str | Path) else getattr(source, "name", "") or "this picture"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of large pictures and odd files, are ours to say
        try:
            image = _opened(source)
            _check_size(name, *image.size)
            noticed = _notices(image)
            width = image.size[0]
            image.draft("RGB", (LONGEST, LONGEST))  # JPEG is decoded at a half or a quarter of its size at once
            image.load()
            size = image.size
            ImageOps.exif_transpose(image, in_place=True)
            quarter = image.size != size
            colour = _reduced(_on_paper(image))
            if colour is not image and isinstance(source, str | Path):
                image.close()  # or an animation keeps its file open
        except Image.DecompressionBombError as error:
            raise UserError(f"{name} has more than {MOST // 1_000_000} million pixels; make it smaller") from error
        except UnidentifiedImageError as error:
            raise UserError(
                f"{name} is not a picture that can be read (PNG, JPEG, GIF, BMP, TIFF, WebP ...)"
            ) from error
        except UserError:
            raise
        except OSError as error:
            reason = error.strerror or "it is damaged or cut off"
            raise UserError(f"cannot read {name}: {reason}") from error
        except Exception as error:  # whatever a stranger's bytes lead Pillow to
            raise UserError(f"cannot read {name}: it is damaged") from error
    scale = width / (colour.size[1] if quarter else colour.size[0])
    return Picture(colour, _grey(colour), scale, noticed)


def _opened(source: Any) -> Image.Image:
    if isinstance(source, Image.Image):
        return source.copy()
    if isinstance(source, bytes | bytearray):
        source = io.BytesIO(source)
    if isinstance(source, str | Path) and (not str(source) or (Path(source).exists() and not Path(source).is_file())):
        raise UserError(f"'{source}' is a folder, or no ordinary file")
    if isinstance(source, str | Path) or hasattr(source, "read"):
        return Image.open(source)
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


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MOST:
        raise UserError(
            f"{name} has {width:,} x {height:,} pixels, more than {MOST // 1_000_000} million; make it smaller"
        )
    if max(width, height) < SMALLEST:
        raise UserError(f"{name} has only {width} x {height} pixels, too few for a digit")


def _notices(image: Image.Image) -> tuple[str, ...]:
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # MPO: a photograph with its own small copy
        return (f"the first of {image.n_frames} frames was read",)
    return ()


def _on_paper(image: Image.Image) -> Image.Image:
    """RGB, or grey (mode L), transparency laid on white; on black where nothing would show on white."""
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_stretched(np.asarray(image, np.float32)))
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return image.convert("L")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        papers = [Image.new("RGBA", image.size, paper) for paper in ("white", "black")]
        on_white, on_black = (Image.alpha_composite(paper, image).convert("RGB") for paper in papers)
        shows = max(high - low for low, high in on_white.getextrema()) > 16
        return on_white if shows else on_black
    return image if image.mode == "RGB" else image.convert("RGB")


def _stretched(values: np.ndarray) -> np.ndarray:
    """Numbers of any range to uint8; one value everywhere becomes white. Numbers that are none count as the least."""
    finite = np.isfinite(values)
    values = np.where(finite, values, values[finite].min() if finite.any() else 0)
    low, high = values.min(), values.max()
    if high <= low:
        return np.full(values.shape, 255, np.uint8)
    return np.uint8((values - low) * (255 / (high - low)) + 0.5)


def _reduced(image: Image.Image) -> Image.Image:
    """At most LONGEST on the longest side, each pixel the mean of those that it stands for; RGB."""
    if max(image.size) > LONGEST:
        factor = max(image.size) / LONGEST
        size = [max(1, round(side / factor)) for side in image.size]
        image = image.resize(size, Image.Resampling.BOX)
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey(image: Image.Image) -> np.ndarray:
    """Luminance, or the one colour in which far more is to be seen: coloured ink on coloured paper."""
    colours = np.asarray(image, np.float32) / 255
    luminance = colours @ np.float32([0.299, 0.587, 0.114])
    candidates = [luminance, *np.moveaxis(colours, 2, 0)]
    spreads = [np.subtract(*np.percentile(values[::2, ::2], (99.5, 0.5))) for values in candidates]
    best = int(np.argmax(spreads))
    return luminance if spreads[best] < WIDER * spreads[0] else np.ascontiguousarray(candidates[best])
