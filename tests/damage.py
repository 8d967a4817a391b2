"""What happens to a picture of a digit before it is read: each kind of damage alone, in random amounts.

Every kind takes a grey picture, uint8 (height, width), dark on light, at least 200 pixels long, and a generator.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

Grey = np.ndarray
Kind = Callable[[Grey, np.random.Generator], Grey | Image.Image]


def _clipped(values: np.ndarray) -> Grey:
    return np.uint8(np.clip(values, 0, 255))


def _slope(grey: Grey, generator: np.random.Generator) -> np.ndarray:
    """The distance of each pixel from a line through the centre, in random direction; the sides are 1 long."""
    down, across = np.meshgrid(*(np.linspace(-0.5, 0.5, side) for side in grey.shape), indexing="ij")
    angle = generator.uniform(0, 2 * np.pi)
    return down * np.sin(angle) + across * np.cos(angle)


def cast_shadow(grey, generator):
    side = _slope(grey, generator) - generator.uniform(-0.2, 0.2)
    return _clipped(grey * (1 - generator.uniform(0.35, 0.6) / (1 + np.exp(-side / 0.02))))


def false_frame(grey, generator):
    level, framed = generator.integers(0, 120), grey.copy()
    for side in generator.choice(4, generator.integers(1, 5), replace=False):
        depth = int(generator.uniform(0.02, 0.06) * len(grey))
        np.rot90(framed, side)[:depth] = level
    return framed


def specks(grey, generator):
    count, radius = generator.integers(5, 25), max(1, len(grey) // 150)
    dirty = np.zeros(grey.shape, bool)
    dirty[tuple(generator.integers(0, side, count) for side in grey.shape)] = True
    return np.where(ndimage.binary_dilation(dirty, iterations=radius), np.uint8(60), grey)


def squared_paper(grey, generator):
    lined, step = grey.astype(float), int(generator.uniform(0.1, 0.2) * len(grey))
    thick, darker = max(1, len(grey) // 150), generator.uniform(0.5, 0.8)
    for rows in (lined, lined.T):
        for start in range(generator.integers(step), len(rows), step):
            rows[start : start + thick] = np.minimum(rows[start : start + thick], 255 * darker)
    return _clipped(lined)


def notebook_page(grey, generator):
    """Blue lines and a red margin, rotated a little."""
    side = 2 * len(grey)
    page = np.full((side, side, 3), np.median(grey), float)
    thick, step = max(1, side // 200), int(generator.uniform(0.08, 0.15) * side)
    for start in range(generator.integers(step), side, step):
        page[start : start + thick] = (120, 150, 210)
    page[:, side // 8 : side // 8 + thick] = (220, 90, 90)
    top, left = (int(generator.uniform(0.2, 0.7) * (side - length)) for length in grey.shape)
    part = page[top : top + grey.shape[0], left : left + grey.shape[1]]
    np.minimum(part, grey[..., None].astype(float), out=part)
    return Image.fromarray(_clipped(page)).rotate(generator.uniform(-4, 4), Image.Resampling.BICUBIC, fillcolor="white")


def tight_crop(grey, generator):
    ink = grey < grey.min() + 0.8 * (np.median(grey) - grey.min())
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def thin_pencil(grey, generator):
    ink = grey < (int(grey.min()) + int(np.median(grey))) / 2
    width = 4 * ndimage.distance_transform_edt(ink)[ink].mean()
    thinned = ndimage.grey_dilation(grey, max(1, round(width / 2)))
    return _clipped(np.median(grey) - 0.6 * (np.median(grey) - thinned.astype(float)))


def jpeg_quality_10(grey, generator):
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=10)
    return Image.open(file)


def rotated_10_degrees(grey, generator):
    angle = 10 * generator.choice([-1, 1])
    return Image.fromarray(grey).rotate(angle, Image.Resampling.BICUBIC, fillcolor=int(np.median(grey)))


KINDS: dict[str, Kind] = {
    "cast shadow": cast_shadow,
    "shading": lambda grey, generator: _clipped(grey * (0.65 + generator.uniform(0.35, 0.5) * _slope(grey, generator))),
    "false frame": false_frame,
    "specks": specks,
    "squared paper": squared_paper,
    "notebook page": notebook_page,
    "tight crop": tight_crop,
    "thin pencil": thin_pencil,
    "marker": lambda grey, _: ndimage.grey_erosion(grey, max(3, len(grey) // 18)),
    "jpeg quality 10": jpeg_quality_10,
    "blurred": lambda grey, _: _clipped(ndimage.gaussian_filter(grey.astype(float), len(grey) / 60)),
    "low contrast": lambda grey, generator: _clipped(190 + 0.15 * (grey - 190.0) + generator.normal(0, 2, grey.shape)),
    "coloured paper": lambda grey, generator: Image.fromarray(
        _clipped(grey[..., None] * generator.uniform(0.45, 1, 3))
    ),
    "rotated 10 degrees": rotated_10_degrees,
}
