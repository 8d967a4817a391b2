"""What is no digit, made up: parts of digits, turned digits, several at once, scribbles, textures, printed letters.

Networks that see them beside digits, and are asked to be sure of nothing there, can say "no digit" later
("outlier exposure", Hendrycks, Mazeika and Dietterich 2019). None of them is a picture of anybody's.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from digit_recognizer import data
from digit_recognizer.data import augmentation, strokes
from digit_recognizer.recipes.recipe import Recipe

LABEL = -1  # of what is no digit
# Not those that people write as they write a digit: o, s, l, z, b, q, g, i, j, t and what looks like them.
LETTERS = "ACEFHKMNPRVWXYacdefhkmnpruvwxyαβγδεζηθκλμνξπρφχψωΓΔΘΛΞΠΣΦΨΩ?#&%@$*+=~<>{}§ÄÖÜßæø"
FONTS = ("DejaVuSans", "DejaVuSerif-Italic", "DejaVuSansMono", "STIXGeneral", "STIXGeneralItalic")
MIRRORED = (3, 4, 6, 7, 9)  # no digits any more in a mirror
TURNED = (2, 3, 4, 5, 6, 7, 8, 9)  # nor lying on their side


def beside(pixels: Tensor, labels: Tensor, recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch with the recipe's share of non-digits after it, augmented as the digits are, and labelled LABEL."""
    count = round(recipe.outlier_fraction * len(labels))
    made = augmentation.augment(make(pixels, labels, count, generator), recipe.augmentation, generator)
    return torch.cat([pixels, made]), torch.cat([labels, labels.new_full((len(made),), LABEL)])


def make(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """count pictures of no digit: float32 (count, 1, 28, 28) in [0, 1].

    pixels, labels: a batch of digits to cut up. Where it has none that would do, there are fewer.
    """
    kinds: tuple[Callable[[Tensor, Tensor, int, torch.Generator], Tensor], ...] = (
        _halves, _turned, _several, _scribbles, _textures, _letters, _letters,
    )  # fmt: skip
    share = torch.tensor_split(torch.arange(count), len(kinds))
    made = [kind(pixels, labels, len(part), generator) for kind, part in zip(kinds, share, strict=True) if len(part)]
    return torch.cat([part.to(pixels.device) for part in made])


def _pick(count: int, of: int, generator: torch.Generator) -> Tensor:
    return torch.randint(of, (count,), generator=generator)


def _halves(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The upper part of one digit over the lower part of another one; or left and right."""
    first, second = _pick(count, len(pixels), generator), _pick(count, len(pixels), generator)
    # The nearest other that is another digit.
    for _ in range(3):
        second = torch.where(labels.cpu()[first] == labels.cpu()[second], (second + 1) % len(pixels), second)
    cut = torch.randint(10, 18, (count, 1, 1, 1), generator=generator)
    rows = torch.arange(strokes.SIZE).view(1, 1, -1, 1)
    sideways = (torch.rand(count, 1, 1, 1, generator=generator) < 0.5).expand(-1, 1, 28, 28)
    upper = torch.where(sideways, rows.transpose(2, 3) < cut, rows < cut).to(pixels.device)
    return torch.where(upper, pixels[first], pixels[second])


def _turned(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """In a mirror, or lying on their side."""
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


def _several(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Two digits side by side, in the place of one."""
    picked = pixels[_pick(2 * count, len(pixels), generator)]
    narrow = F.interpolate(picked, size=(20, 14), mode="bilinear", antialias=True, align_corners=False)
    pairs = torch.cat(narrow.split(count), dim=3)
    return F.pad(pairs, (0, 0, 4, 4))


def _scribbles(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return strokes.scribbles(count, generator)


def _textures(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Noise, coarse or fine, hard or soft, in the box of a digit."""
    side = int(_pick(1, 5, generator)) + 3
    noise = torch.rand(count, 1, side, side, generator=generator)
    grown = F.interpolate(noise, size=(20, 20), mode="bicubic", align_corners=False)
    hard = 2 + 20 * torch.rand(count, 1, 1, 1, generator=generator)
    level = 0.4 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    return F.pad(((grown - level) * hard).clamp(0, 1), (4, 4, 4, 4))


def _letters(pixels: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    printed = letters()
    return data.to_pixels(printed[_pick(count, len(printed), generator)])


@functools.cache
def letters() -> Tensor:
    """Each letter in each font, as MNIST would have it: uint8 (n, 28, 28)."""
    import matplotlib

    from digit_recognizer.preprocessing import mnist_format  # both here: only training with non-digits needs them

    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    made = []
    for font in (ImageFont.truetype(str(folder / f"{name}.ttf"), 96) for name in FONTS):
        missing = _printed(font, "\uffff")
        for letter in LETTERS:
            ink = _printed(font, letter)
            if ink.any() and not np.array_equal(ink, missing):
                made.append(mnist_format.drawn(ink, ink > 0.5)[0])
    return torch.from_numpy(np.stack(made))


def _printed(font: ImageFont.FreeTypeFont, letter: str) -> np.ndarray:
    """float32 (160, 160), 0 paper to 1 ink."""
    canvas = Image.new("L", (160, 160))
    ImageDraw.Draw(canvas).text((40, 20), letter, fill=255, font=font)
    return np.asarray(canvas, np.float32) / 255
