"""Digits damaged in the fifteen ways of MNIST-C: evaluation beyond the test set, never training.

After the description by N. Mu and J. Gilmer (MNIST-C: a robustness benchmark for computer vision, 2019,
arXiv:1906.02337), with the severities of their data set. The code is our own and the random numbers are others, so the
images differ from theirs one by one. Each kind keeps the label.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from skimage import feature
from torch import Tensor

from digit_recognizer.data import augmentation
from digit_recognizer.data.strokes import SIZE

SEED = 0  # of every kind, so that the same images come in every run
ANGLE = 0.4  # radians, of shear and rotation
LINE_WIDTH = 2.3  # rows from the middle of a drawn line to where it would end; it has faded to 0 before


def shot_noise(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A pixel counts photons: three where it is white."""
    return random.poisson(3 * images) / 3


def impulse_noise(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """17 % of the pixels are black or white."""
    chosen, value = random.random((2, *images.shape))
    return np.where(chosen < 0.17, value < 0.5, images)


def glass_blur(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Frosted glass: a blur, pixels swapped twice with neighbours, and the blur again."""
    blurred, every = _gaussian(images, 0.7), np.arange(len(images))
    for _ in range(2):
        for row in range(SIZE - 1, 1, -1):
            for column in range(SIZE - 1, 1, -1):
                up, left = random.integers(0, 2, (2, len(images))) * (random.random(len(images)) < 0.5)
                there = every, row - up, column - left
                blurred[:, row, column], blurred[there] = blurred[there], blurred[:, row, column].copy()
    return _gaussian(blurred, 0.7)


def motion_blur(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Smeared to the left, up or down by at most 45 degrees; the trail fades as half a Gaussian of 3 pixels."""
    angles, steps = random.uniform(-np.pi / 4, np.pi / 4, len(images)), np.arange(21)
    weights = np.exp(-((steps / 3) ** 2) / 2)
    smeared = np.zeros_like(images)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        smeared += weight * _affine(images, 1, 0, step * np.cos(angles), 0, 1, step * np.sin(angles))
    return smeared


def shear(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Uprights lean by 0.4 radians, to the left or to the right."""
    angles = _signs(images, random) * ANGLE
    return _affine(images, 1, -np.sin(angles), 0, 0, np.cos(angles), 0)


def scale(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """70 % of the size."""
    return _affine(images, 1 / 0.7, 0, 0, 0, 1 / 0.7, 0)


def rotate(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turned by 0.4 radians, to the left or to the right."""
    angles = _signs(images, random) * ANGLE
    return _affine(images, np.cos(angles), -np.sin(angles), 0, np.sin(angles), np.cos(angles), 0)


def brightness(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Half of white added: grey paper."""
    return images + 0.5


def translate(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Three pixels to the left or to the right, and three up or down."""
    return _affine(images, 1, 0, 3 * _signs(images, random), 0, 1, 3 * _signs(images, random))


def stripe(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The left and the right quarter inverted."""
    inverted = np.abs(np.arange(SIZE) - 13.5) > 7
    return np.where(inverted, 1 - images, images)


def fog(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Clouds three times as strong as the digit, the sum brought back to the digit's brightness."""
    brightest = images.max((1, 2), keepdims=True)
    return (images + 3 * _clouds(len(images), random)) * brightest / (brightest + 3)


def spatter(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Spots of dark grey mud."""
    wet = _gaussian(random.normal(size=images.shape), 1) > 0
    mud = _gaussian(wet.astype(float), 1.5)
    mud[mud < 0.8] = 0
    return images * (1 - mud) + mud * 63 / 255


def dotted_line(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A line from the left edge to the right, two columns missing and two drawn in turn."""
    start, end = random.integers(0, 27, (2, len(images), 1))
    columns = np.arange(SIZE)
    return images + _line(start + (end - start) * columns / 27) * (columns % 4 > 1)


def zigzag(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A line with teeth of two rows, a tooth every four columns."""
    start, rise = random.integers(0, 27, (len(images), 1)), random.integers(-5, 5, (len(images), 1))
    columns = np.arange(SIZE)
    teeth = np.interp(columns, [2, *range(4, 25, 4)], [0, *(2 * (-1) ** tooth for tooth in range(6))])
    return images + _line(start + rise * (columns - 2) / 23 + teeth) * ((columns >= 2) & (columns <= 25))


def canny_edges(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The edges alone, by Canny's detector."""
    return np.stack([feature.canny(image) for image in images])


# Each takes images in [0, 1], float64 (n, 28, 28), and returns as many, still to be clipped.
KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    kind.__name__: kind
    for kind in (
        shot_noise, impulse_noise, glass_blur, motion_blur, shear, scale, rotate, brightness, translate, stripe, fog,
        spatter, dotted_line, zigzag, canny_edges,
    )
}  # fmt: skip


def corrupt(images: Tensor, kind: str) -> Tensor:
    """The images damaged in that way, the same in every run. images: uint8 (n, 28, 28), as are those returned."""
    random = np.random.default_rng(SEED)
    parts = [np.clip(KINDS[kind](part.numpy() / 255, random), 0, 1) for part in images.split(1000)]  # to save memory
    return torch.from_numpy(np.rint(255 * np.concatenate(parts)).astype(np.uint8))


def _signs(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """-1 or 1 for each image."""
    return random.choice((-1, 1), len(images))


def _gaussian(images: np.ndarray, std: float) -> np.ndarray:
    """Each image blurred."""
    return ndimage.gaussian_filter(images, (0, std, std), mode="nearest")


def _affine(images: np.ndarray, *terms: float | np.ndarray) -> np.ndarray:
    """Pixel (x, y), counted from the centre, is taken from (a x + b y + c, d x + e y + f). terms: a to f."""
    matrices = np.stack([np.full(len(images), term, float) for term in terms], 1).reshape(-1, 2, 3)
    matrices[:, :, 2] *= 2 / SIZE  # torch counts from -1 to 1
    grid = F.affine_grid(torch.from_numpy(matrices), [len(images), 1, SIZE, SIZE], align_corners=False)
    return augmentation.warp(torch.from_numpy(images)[:, None], grid)[:, 0].numpy()


def _line(rows: np.ndarray) -> np.ndarray:
    """A line drawn at that row of each column. rows: (n, 28); returns (n, 28, 28), 1 in the middle of the line."""
    distance = np.abs(np.arange(SIZE)[:, None] - rows[:, None])
    return np.clip(np.log1p(-np.minimum(distance / LINE_WIDTH, 0.99)) + 1, 0, 1)


def _clouds(count: int, random: np.random.Generator) -> np.ndarray:
    """A corner of a map of 256x256 that the diamond-square algorithm makes, from 0 to 1: (count, 28, 28)."""
    heights, step = np.zeros((count, 1, 1)), np.ones((count, 1, 1))
    for level in range(8):
        if level == 5:  # 32x32 heights tell how far they range; from here on, the corner is enough
            lowest = heights.min((1, 2), keepdims=True)
            extent = heights.max((1, 2), keepdims=True) - lowest
            heights, step = np.roll((heights - lowest) / extent, 2, (1, 2))[:, :8, :8], step / extent
        heights = _refine(heights, step, random)
        step = step / 1.4**2
    return heights[:, 16:44, 16:44]


def _refine(heights: np.ndarray, step: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Twice as many heights each way: the new ones are the mean of the four around them and a random step.

    heights: (n, side, side), periodic; step: (n, 1, 1), the largest.
    """
    steps = step * random.uniform(-1, 1, (3, *heights.shape))
    right, below = np.roll(heights, -1, 2), np.roll(heights, -1, 1)
    middle = (heights + right + below + np.roll(right, -1, 1)) / 4 + steps[0]
    finer = np.empty((len(heights), 2 * heights.shape[1], 2 * heights.shape[2]))
    finer[:, ::2, ::2], finer[:, 1::2, 1::2] = heights, middle
    finer[:, ::2, 1::2] = (heights + right + middle + np.roll(middle, 1, 1)) / 4 + steps[1]
    finer[:, 1::2, ::2] = (heights + below + middle + np.roll(middle, 1, 2)) / 4 + steps[2]
    return finer
