"""Paper as people photograph it: lines, boxes, light, what lies beside the page; and what a camera does to it all.

Arrays are float32 (height, width), 0 black to 1 white. All random numbers come from the generator that is passed in.
"""

import io

import numpy as np
from PIL import Image
from scipy import ndimage

Random = np.random.Generator


def coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each pixel: float32, (height, 1) and (1, width)."""
    return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]


def smooth_noise(shape: tuple[int, int], cells: int, random: Random) -> np.ndarray:
    """Noise between -1 and 1 without detail: a grid of so many cells on a side, enlarged to the shape."""
    coarse = random.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC))


def draw_blank(shape: tuple[int, int], random: Random) -> np.ndarray:
    """A sheet without light on it: an even tone, clouds, grain, or the weave of a rough paper."""
    paper = np.full(shape, 1, np.float32)
    if random.random() < 0.35:  # as drawing programs and scanners have it
        return paper
    paper += random.uniform(0, 0.06) * smooth_noise(shape, int(random.integers(2, 12)), random)
    if random.random() < 0.6:
        grain = random.standard_normal(shape, dtype=np.float32)
        softness = random.uniform(0, 2)
        grain = ndimage.gaussian_filter(grain, softness) * (1 + 3 * softness) if softness > 0.5 else grain
        paper += random.uniform(0, 0.05) * grain
    if random.random() < 0.08:
        paper += _weave(shape, random)
    return paper


def _weave(shape: tuple[int, int], random: Random) -> np.ndarray:
    """Cloth or rough paper: two crossing waves."""
    y, x = coordinates(*shape)
    turn, period = random.uniform(0, np.pi), random.uniform(3, 14)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    waves = np.sin(along * (2 * np.pi / period)) + np.sin(across * (2 * np.pi / period / random.uniform(0.8, 1.3)))
    return random.uniform(0.02, 0.12) * waves.astype(np.float32)


def draw_lines(shape: tuple[int, int], height: float, slope: float, random: Random) -> np.ndarray:
    """Ruled or squared paper: strength 0 to 1 of the print. height: of the writing, in pixels; slope: in radians."""
    spacing = height * random.uniform(0.45, 2.4)
    spacing = max(spacing, 5)
    width = random.uniform(0.5, 1.2) * max(1, height / 40) * random.choice([1, 1, 1.8])
    print_ = _parallel_lines(shape, spacing, width, slope, random)
    if random.random() < 0.65:  # squared
        print_ = np.maximum(print_, _parallel_lines(shape, spacing, width, slope + np.pi / 2, random))
    if random.random() < 0.15:
        print_ *= np.clip(0.6 + 0.6 * smooth_noise(shape, 8, random), 0, 1)  # a worn print
    return print_


def _parallel_lines(shape: tuple[int, int], spacing: float, width: float, slope: float, random: Random) -> np.ndarray:
    y, x = coordinates(*shape)
    position = y * np.cos(slope) - x * np.sin(slope) + random.uniform(0, spacing)
    distance = np.abs((position + spacing / 2) % spacing - spacing / 2)
    return np.clip(width / 2 - distance + 0.5, 0, 1).astype(np.float32)


def draw_segment(
    shape: tuple[int, int], start: tuple[float, float], end: tuple[float, float], width: float
) -> np.ndarray:
    """Strength 0 to 1 of a straight stroke. start, end: x and y in pixels."""
    y, x = coordinates(*shape)
    along = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
    length = np.float32(max(float(along[0]) ** 2 + float(along[1]) ** 2, 1e-6))
    position = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length, 0, 1)
    distance = np.hypot(x - start[0] - position * along[0], y - start[1] - position * along[1])
    return np.clip(width / 2 - distance + 0.5, 0, 1).astype(np.float32)


def draw_box(shape: tuple[int, int], box: tuple[float, float, float, float], width: float) -> np.ndarray:
    """Strength 0 to 1 of a rectangle's outline, as forms have it. box: left, top, right, bottom in pixels."""
    y, x = coordinates(*shape)
    left, top, right, bottom = box
    inside = np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y))
    return np.clip(width / 2 - np.abs(inside) + 0.5, 0, 1).astype(np.float32)


def draw_ellipse(
    shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float], width: float | None
) -> np.ndarray:
    """Strength 0 to 1 of an ellipse: filled where width is None, else its outline."""
    y, x = coordinates(*shape)
    radius = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
    distance = (1 - radius) * min(radii[0], radii[1])
    return np.clip((distance if width is None else width / 2 - np.abs(distance)) + 0.5, 0, 1).astype(np.float32)


def draw_light(shape: tuple[int, int], random: Random) -> np.ndarray:
    """What light falls on the sheet: 1 full, less in shadows, more in glare. A factor for each pixel."""
    y, x = coordinates(*shape)
    y, x = y / shape[0] - 0.5, x / shape[1] - 0.5
    light = np.ones(shape, np.float32)
    if random.random() < 0.6:
        turn = random.uniform(0, 2 * np.pi)
        light *= np.exp(random.uniform(0, 0.9) * (x * np.cos(turn) + y * np.sin(turn)))
    if random.random() < 0.35:
        light *= 1 + random.uniform(0, 0.35) * smooth_noise(shape, int(random.integers(1, 5)), random)
    if random.random() < 0.3:  # dark corners
        centre = random.uniform(-0.4, 0.4, 2)
        light *= 1 - random.uniform(0.1, 0.75) * np.clip((x - centre[0]) ** 2 + (y - centre[1]) ** 2, 0, 1)
    for _ in range(int(random.integers(1, 3)) if random.random() < 0.35 else 0):
        light *= _shadow(x, y, random)
    if random.random() < 0.12:  # glare
        centre, size = random.uniform(-0.5, 0.5, 2), random.uniform(0.08, 0.5)
        light += random.uniform(0.1, 0.8) * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / size**2)
    return light


def _shadow(x: np.ndarray, y: np.ndarray, random: Random) -> np.ndarray:
    """A cast shadow: a half-plane or a disc with a soft or hard edge."""
    soft = 10 ** random.uniform(-2.3, -0.7)
    if random.random() < 0.6:
        turn = random.uniform(0, 2 * np.pi)
        distance = x * np.cos(turn) + y * np.sin(turn) - random.uniform(-0.4, 0.4)
        if random.random() < 0.4:  # a band, as of a pen or an arm
            distance = np.abs(distance) - random.uniform(0.02, 0.2)
    else:
        centre = random.uniform(-0.7, 0.7, 2)
        distance = np.hypot((x - centre[0]) * random.uniform(0.5, 2), y - centre[1]) - random.uniform(0.1, 0.5)
    return 1 - random.uniform(0.1, 0.65) / (1 + np.exp(np.clip(distance / soft, -30, 30)))


def draw_surroundings(page: np.ndarray, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Put the table, its edge, a thumb or a hole where the sheet ends. Returns the page and a bool mask of the sheet.

    The sheet keeps at least half of the picture.
    """
    shape = page.shape
    y, x = coordinates(*shape)
    sheet = np.ones(shape, bool)
    page = page.copy()
    for _ in range(int(random.integers(1, 4))):
        askew = random.normal(0, 0.12) if random.random() < 0.6 else random.uniform(-0.4, 0.4)
        turn = random.integers(4) * np.pi / 2 + askew
        # Distance from the edge of the sheet, in pixels, positive beyond it.
        reach = random.uniform(0.2, 0.52) * max(shape)
        distance = (x - shape[1] / 2) * np.cos(turn) + (y - shape[0] / 2) * np.sin(turn) - reach
        beyond = np.clip(distance + 0.5, 0, 1)
        table: np.ndarray
        if random.random() < 0.3:  # a ground of nearly the same tone, as where a picture was turned or pasted
            table = np.full(shape, np.median(page) + random.normal(0, 0.05), np.float32)
        else:
            table = random.uniform(0, 1.1) + random.uniform(0, 0.15) * smooth_noise(
                shape, int(random.integers(2, 40)), random
            )
            if random.random() < 0.4:
                table = table + _weave(shape, random) * random.uniform(1, 3)
        page = page * (1 - beyond) + table * beyond
        if random.random() < 0.6:  # the shadow that the sheet throws, or its bright edge
            width = random.uniform(0.7, 6)
            page *= 1 + random.uniform(-0.6, 0.25) * np.exp(-((distance / width) ** 2))
        sheet &= distance < 0
    if random.random() < 0.25:  # a thumb, a stamp or the lamp
        centre = random.uniform(0, shape[1]), random.choice([0, shape[0]]) + random.normal(0, 10)
        if random.random() < 0.5:
            centre = random.choice([0, shape[1]]) + random.normal(0, 10), random.uniform(0, shape[0])
        radii = random.uniform(8, 50), random.uniform(8, 50)
        thumb = draw_ellipse(shape, centre, radii, None)
        page = page * (1 - thumb) + random.uniform(0.1, 0.9) * thumb
        sheet &= thumb < 0.1
    return page, sheet


def photograph(page: np.ndarray, random: Random) -> np.ndarray:
    """What a camera, a scanner or a drawing program makes of a page: blur, few pixels, noise, gamma, JPEG."""
    height, width = page.shape
    if random.random() < 0.45:
        page = ndimage.gaussian_filter(page, random.uniform(0.3, 1.4))
    if random.random() < 0.15:
        factor = random.uniform(1.2, 2.6)
        small = Image.fromarray(page).resize((int(width / factor), int(height / factor)), Image.Resampling.BOX)
        page = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))
    if random.random() < 0.5:
        page = page + random.uniform(0, 0.05) * random.standard_normal(page.shape, dtype=np.float32)
    page = np.clip(page, 0, 1)
    if random.random() < 0.3:
        page = page ** np.float32(2 ** random.uniform(-0.8, 0.8))
    grey = (page * 255 + 0.5).astype(np.uint8)
    if random.random() < 0.4:
        file = io.BytesIO()
        Image.fromarray(grey).save(file, "JPEG", quality=int(random.integers(20, 90)))
        grey = np.asarray(Image.open(file))
    return grey
