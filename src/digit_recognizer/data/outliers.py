"""Outliers: parts of digits, turned digits, barred 0s, flagged 6s, pairs, scribbles, blobs, textures, letters.

Outlier exposure (Hendrycks, Mazeika and Dietterich 2019): a network that learns a uniform output for them can reject
images without a digit. They are made of the batch's digits, of random numbers and of matplotlib's fonts alone.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from torch import Tensor

from digit_recognizer import data
from digit_recognizer.data import augmentation, strokes
from digit_recognizer.recipes.recipe import Augmentation

# Without letters that are written like a digit: o, s, l, z, b, q, g, i, j, t and similar ones.
LETTERS = "ACEFHKMNPRVWXYacdefhkmnpruvwxyαβγδεζηθϑκλμνξπρφϕχψωΓΔΘΛΞΠΣΦΨΩ?#&%@$*+=~<>{}§ÄÖÜßæ×÷±√∞∪★€"
FONTS = ("DejaVuSans", "DejaVuSerif-Italic", "DejaVuSansMono", "STIXGeneral", "STIXGeneralItalic")
PEN_WIDTHS = (0.1, 0.16)  # of written letters, as a fraction of their height
BENT = Augmentation(rotation=10, scale=0.2, shear=0.25, elastic=2.5)  # of written letters, before the recipe's own
FONT_SIZE = 96  # pixels
MIRRORED = (3, 4, 6, 7, 9)  # digits whose mirror image is no digit
TURNED = (2, 3, 4, 5, 6, 7, 8, 9)  # digits that are none when rotated by 90 degrees


def make_outliers(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Outliers made from a batch of digits: float32 (count, 1, 28, 28) in [0, 1].

    There are fewer where the batch has no digit that can be turned, no 0 or no 6.
    """
    makers: tuple[Callable[[Tensor, Tensor, int, torch.Generator], Tensor], ...] = (
        _halves, _turned, _barred, _flagged, _pairs, _scribbles, _blobs, _textures,
        _letters, _written, _written, _written,
    )  # fmt: skip
    parts = torch.tensor_split(torch.arange(count), len(makers))
    made = [make(pixels, labels, len(part), generator) for make, part in zip(makers, parts, strict=True) if len(part)]
    return torch.cat([part.to(pixels.device) for part in made])


def _pick(count: int, of: int, generator: torch.Generator) -> Tensor:
    return torch.randint(of, (count,), generator=generator)


def _halves(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The upper part of one digit above the lower part of another; or left and right parts."""
    first, second = _pick(count, len(pixels), generator), _pick(count, len(pixels), generator)
    for _ in range(3):  # or more often, if a batch had long runs of one digit
        second = torch.where(labels.cpu()[first] == labels.cpu()[second], (second + 1) % len(pixels), second)
    cut = torch.randint(10, 18, (count, 1, 1, 1), generator=generator)
    rows = torch.arange(strokes.SIZE).view(1, 1, -1, 1)
    sideways = (torch.rand(count, 1, 1, 1, generator=generator) < 0.5).expand(-1, 1, 28, 28)
    upper = torch.where(sideways, rows.transpose(2, 3) < cut, rows < cut).to(pixels.device)
    return torch.where(upper, pixels[first], pixels[second])


def _turned(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Digits mirrored or rotated by 90 degrees."""
    made = []
    mirror = count // 2
    for digits, amount, turn in (
        (MIRRORED, mirror, lambda those: those.flip(3)),
        (TURNED, count - mirror, lambda those: torch.rot90(those, 1, (2, 3))),
    ):
        fitting = torch.isin(labels.cpu(), torch.tensor(digits)).nonzero().flatten()
        if len(fitting):
            made.append(turn(pixels[fitting[_pick(amount, len(fitting), generator)]]))
    return torch.cat(made) if made else pixels[:0]


def _barred(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Thetas, made of zeros. A slash is steeper, see strokes.add_styles."""
    return _change(0, strokes.draw_bars, pixels, labels, count, generator)


def _flagged(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Deltas, made of sixes."""
    return _change(6, strokes.draw_flags, pixels, labels, count, generator)


def _change(
    digit: int, change: strokes.Change, pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Copies of this digit, changed; none where the batch has none."""
    fitting = (labels.cpu() == digit).nonzero().flatten()
    return change(pixels[fitting[_pick(count, len(fitting), generator)]], generator) if len(fitting) else pixels[:0]


def _pairs(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Two narrowed digits side by side."""
    picked = pixels[_pick(2 * count, len(pixels), generator)]
    narrow = F.interpolate(picked, size=(20, 14), mode="bilinear", antialias=True, align_corners=False)
    pairs = torch.cat(narrow.split(count), dim=3)
    return F.pad(pairs, (0, 0, 4, 4))


def _scribbles(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return strokes.draw_scribbles(count, generator)


def _textures(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Noise in the 20x20 box of a digit: coarse or fine, with hard or soft edges."""
    side = int(_pick(1, 5, generator)) + 3
    noise = torch.rand(count, 1, side, side, generator=generator)
    grown = F.interpolate(noise, size=(20, 20), mode="bicubic", align_corners=False)
    hard = 2 + 20 * torch.rand(count, 1, 1, 1, generator=generator)
    level = 0.4 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    return F.pad(((grown - level) * hard).clamp(0, 1), (4, 4, 4, 4))


def _blobs(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return strokes.draw_blobs(count, generator)


def _letters(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    letters = render_letters()
    return data.to_pixels(letters[_pick(count, len(letters), generator)])


def _written(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Letters drawn with a pen, each bent in another way."""
    letters = render_letters(written=True)
    return augmentation.augment(data.to_pixels(letters[_pick(count, len(letters), generator)]), BENT, generator)


@functools.cache
def render_letters(letters: str = LETTERS, fonts: tuple[str, ...] = FONTS, written: bool = False) -> Tensor:
    """Each letter in each of matplotlib's fonts, in MNIST's format: uint8 (n, 28, 28).

    written: with pens of several widths along the middle of the printed strokes.
    """
    import matplotlib

    from digit_recognizer.preprocessing import mnist_format  # both here, since only outliers need them

    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    made = []
    for font in (ImageFont.truetype(str(folder / f"{name}.ttf"), FONT_SIZE) for name in fonts):
        missing = _render_letter(font, "\uffff")
        for letter in letters:
            strength = _render_letter(font, letter)
            if strength.any() and not np.array_equal(strength, missing):
                drawn = _write(strength) if written else [strength]
                made += [mnist_format.normalize_strokes(each, each > 0.5)[0] for each in drawn]
    return torch.from_numpy(np.stack(made))


def _write(strength: np.ndarray) -> list[np.ndarray]:
    """The letter as pens of the PEN_WIDTHS draw it. strength: float32, 0 background to 1 foreground."""
    from skimage.morphology import skeletonize

    distance = ndimage.distance_transform_edt(~skeletonize(strength > 0.5))
    return [np.clip(width * FONT_SIZE / 2 - distance + 0.5, 0, 1).astype(np.float32) for width in PEN_WIDTHS]


def _render_letter(font: ImageFont.FreeTypeFont, letter: str) -> np.ndarray:
    """float32 (160, 160), 0 background to 1 foreground."""
    canvas = Image.new("L", (160, 160))
    ImageDraw.Draw(canvas).text((40, 20), letter, fill=255, font=font)
    return np.asarray(canvas, np.float32) / 255
