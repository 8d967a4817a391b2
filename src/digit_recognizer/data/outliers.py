"""Outliers: parts of digits, turned digits, barred 0s, pairs, scribbles, blobs, textures, letters.

Outlier exposure (Hendrycks, Mazeika and Dietterich 2019): a network that learns a uniform output for them can reject
images without a digit. They are made of the batch's digits, of random numbers, of matplotlib's fonts and of the curves
of GREEK alone.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from scipy import interpolate, ndimage
from torch import Tensor

from digit_recognizer import data
from digit_recognizer.data import augmentation, strokes
from digit_recognizer.recipes.recipe import Augmentation

# Without letters that are written like a digit: o, s, l, z, b, q, g, i, j, t and similar ones.
LETTERS = "ACEFHKMNPRVWXYacdefhkmnpruvwxyαβγδεζηθϑκλμνξπρφϕχψωΓΔΘΛΞΠΣΦΨΩ?#&%@$*+=~<>{}§ÄÖÜßæ×÷±√∞∪★€"
FONTS = ("DejaVuSans", "DejaVuSerif-Italic", "DejaVuSansMono", "STIXGeneral", "STIXGeneralItalic")
# Greek letters as people write them and fonts do not print them, in one stroke: x and y from 0 to 1, y down.
GREEK = (
    # alpha: a fish, and an a
    ((0.95, 0.15), (0.65, 0.6), (0.3, 0.85), (0.05, 0.6), (0.25, 0.3), (0.6, 0.55), (0.95, 0.85)),
    ((0.7, 0.25), (0.4, 0.25), (0.1, 0.6), (0.25, 0.85), (0.55, 0.65), (0.72, 0.2), (0.7, 0.6), (0.95, 0.8)),
    # gamma: without and with a loop
    ((0.1, 0.1), (0.3, 0.15), (0.5, 0.5), (0.45, 0.95), (0.5, 0.55), (0.9, 0.05)),
    ((0.1, 0.1), (0.3, 0.12), (0.5, 0.5), (0.6, 0.85), (0.45, 0.95), (0.4, 0.8), (0.6, 0.45), (0.9, 0.05)),
    # delta: with a flag, with a hook, and open at the top
    ((1.0, 0.12), (0.7, 0.05), (0.4, 0.3), (0.2, 0.75), (0.38, 0.92), (0.6, 0.75), (0.5, 0.52), (0.28, 0.6)),
    ((0.95, 0.15), (0.6, 0.1), (0.4, 0.25), (0.6, 0.5), (0.65, 0.75), (0.4, 0.92), (0.2, 0.75), (0.3, 0.5),
     (0.5, 0.45)),
    ((0.75, 0.2), (0.5, 0.05), (0.3, 0.2), (0.6, 0.5), (0.7, 0.75), (0.45, 0.95), (0.2, 0.75), (0.4, 0.45),
     (0.5, 0.42)),
    # delta begun at the left, with a long flag: its loop closed, and open
    ((0.0, 0.75), (0.1, 0.58), (0.42, 0.5), (0.3, 0.78), (0.36, 0.98), (0.56, 0.9), (0.55, 0.68), (0.38, 0.5),
     (0.55, 0.2), (1.0, 0.0)),
    ((0.0, 0.65), (0.08, 0.55), (0.22, 0.6), (0.15, 0.9), (0.25, 0.98), (0.48, 0.78), (0.3, 0.55), (0.35, 0.4),
     (0.62, 0.18), (1.0, 0.0)),
    # epsilon: with a round and with a sharp waist
    ((0.85, 0.2), (0.5, 0.05), (0.25, 0.25), (0.5, 0.45), (0.2, 0.65), (0.3, 0.9), (0.65, 0.92), (0.95, 0.7)),
    ((0.8, 0.1), (0.35, 0.1), (0.3, 0.35), (0.6, 0.42), (0.3, 0.5), (0.15, 0.75), (0.45, 0.95), (0.9, 0.75)),
)  # fmt: skip
PATH_POINTS = 25
PEN_WIDTHS = (0.1, 0.16)  # of written letters, as a fraction of their height
BENT = Augmentation(rotation=10, scale=0.2, shear=0.25, elastic=2.5)  # of written letters, before the recipe's own
FONT_SIZE = 96  # pixels
MIRRORED = (3, 4, 6, 7, 9)  # digits whose mirror image is no digit
TURNED = (2, 3, 4, 5, 6, 7, 8, 9)  # digits that are none when rotated by 90 degrees


def make_outliers(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Outliers made from a batch of digits: float32 (count, 1, 28, 28) in [0, 1].

    There are fewer where the batch has no digit that can be turned, or no 0.
    """
    makers: tuple[Callable[[Tensor, Tensor, int, torch.Generator], Tensor], ...] = (
        _halves, _turned, _barred, _pairs, _scribbles, _blobs, _textures,
        _letters, _written, _written, _written, _drawn, _drawn,
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
    zeros = (labels.cpu() == 0).nonzero().flatten()
    if not len(zeros):
        return pixels[:0]
    return strokes.draw_bars(pixels[zeros[_pick(count, len(zeros), generator)]], generator)


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


def _drawn(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The GREEK letters, each point moved a little, bent, with a pen of any width."""
    paths = smooth_paths()
    points = paths[_pick(count, len(paths), generator)]
    corners = 2 * torch.rand(count, 5, 2, generator=generator) - 1
    moves = F.interpolate(corners.mT, points.shape[1], mode="linear", align_corners=True).mT
    radii = 0.7 + 0.9 * torch.rand(count, generator=generator)
    return augmentation.augment(strokes.draw_path(4 + 20 * points + moves, radii), BENT, generator)


@functools.cache
def smooth_paths() -> Tensor:
    """The GREEK letters as curves through their points: float32 (letters, PATH_POINTS, 2), x and y from 0 to 1."""
    curves = []
    for points in GREEK:
        steps = np.linspace(0, len(points) - 1, PATH_POINTS)
        curves.append(interpolate.CubicSpline(range(len(points)), points, bc_type="natural")(steps))
    return torch.from_numpy(np.stack(curves).astype(np.float32))


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
