"""Figures of how pictures were read, one by one and together."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from digit_recognizer.plots import QUIET, RIGHT, WRONG, tile
from digit_recognizer.preprocessing.image_io import Picture
from digit_recognizer.preprocessing.mnist_format import Intake
from digit_recognizer.recognition.recognizer import Number, Prediction
from digit_recognizer.runtime.text import percent


def digit(intake: Intake, answer: Prediction, title: str) -> Figure:
    """The picture, the ink found in it, what the network saw, and the ten probabilities."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    picture, ink, seen, bars = figure.subplots(1, 4, gridspec_kw={"width_ratios": [1, 1, 1, 1.3]})
    picture.imshow(intake.picture.image)
    # What belongs to the digit in blue, the rest of the ink in grey.
    shown = np.ones((*intake.found.mask.shape, 3))
    shown[intake.found.mask] = 0.75
    shown[intake.strokes] = (0, 0.447, 0.698)
    ink.imshow(shown)
    tile(seen, intake.digit)
    for place, name in ((picture, "picture"), (ink, "ink found"), (seen, "what the network saw")):
        place.set_title(name, fontsize=11)
        place.set_xticks([])
        place.set_yticks([])
    colours = [RIGHT if number == answer.digit else QUIET for number in range(10)]
    bars.barh(range(10), [100 * probability for probability in answer.probabilities], color=colours)
    bars.set_yticks(range(10))
    bars.invert_yaxis()
    bars.set_xlim(0, 100)
    bars.set_xlabel("probability, %")
    bars.spines[["top", "right"]].set_visible(False)
    said = f"read as {answer.digit}, {percent(answer.confidence)} sure" if answer.reason is None else answer.reason
    bars.set_title(said, fontsize=11, color=QUIET if answer.reason is None else WRONG)
    figure.suptitle(title, fontsize=12).set_parse_math(False)
    return figure


def number(picture: Picture, answer: Number, title: str) -> Figure:
    """The picture with a box around each digit, and what it was read as."""
    width, height = (side * picture.scale for side in picture.image.size)  # the boxes are in the original's pixels
    figure = Figure(figsize=(9, max(2.5, min(9, 9 * height / width + 0.6))), layout="constrained")
    axes = figure.subplots()
    axes.imshow(picture.image, extent=(0, width, height, 0))
    for (left, top, right, bottom), one in zip(answer.boxes, answer.predictions, strict=True):
        colour = WRONG if one.digit is None else RIGHT
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.5))
        read = "?" if one.digit is None else str(one.digit)
        axes.annotate(read, (left, top), (0, 3), textcoords="offset points", color=colour, fontsize=13, weight="bold")
    axes.axis("off")
    axes.set_title(f"{title}: {' / '.join(answer.rows) or 'no digit found'}", fontsize=12).set_parse_math(False)
    return figure


def reliability(before: Tensor, after: Tensor, labels: Tensor, title: str) -> Figure:
    """How often answers were right against how sure they were, before and after calibration.

    before, after: probabilities, float (n, 10); labels: int64 (n,). A point for each tenth of the answers.
    """
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    for probabilities, name, colour in ((before, "as trained", WRONG), (after, "calibrated", RIGHT)):
        confidence, answers = probabilities.max(1)
        order = confidence.argsort()
        parts = [(confidence[part].mean(), (answers[part] == labels[part]).float().mean()) for part in order.chunk(10)]
        axes.plot(*zip(*([100 * float(value) for value in part] for part in parts), strict=True), "o-", color=colour,
                  label=name)  # fmt: skip
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    axes.plot((low, 100), (low, 100), color=QUIET, linestyle="--", label="as sure as right")
    _label(axes, "confidence, %", "right, %", title)
    return figure


def confidence(digits: Tensor, others: Tensor, least: float, title: str) -> Figure:
    """How sure a network is of digits and of what is none; least: below which it says nothing.

    digits, others: confidences, float (n,), 0 to 1.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, 1, 26)
    for values, name, colour in ((digits, "digits", RIGHT), (others, "no digits", WRONG)):
        shares = [100 / len(values)] * len(values)
        label = f"{name}: {float((values < least).double().mean()):.1%} refused"
        axes.hist(values.numpy(), list(edges), weights=shares, color=colour, alpha=0.6, label=label)
    axes.axvline(least, color=QUIET, linestyle="--", label="least confidence of an answer")
    _label(axes, "confidence", "share, %", title)
    return figure


def _label(axes: Axes, across: str, up: str, title: str) -> None:
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.set_title(title, fontsize=12)
