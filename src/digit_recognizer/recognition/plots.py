"""Figures of pictures as they were read, of how confident a network is, and of what it rejects."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from digit_recognizer.plots import QUIET, RIGHT, WRONG, tile
from digit_recognizer.recognition.prediction import Number, Prediction
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import percent


def digit(prediction: Prediction, title: str) -> Figure:
    """Picture, foreground, what the network saw, and the ten probabilities. prediction: of Recognizer.predict."""
    if prediction.page is None:
        raise UserError("this prediction keeps no page to draw; make it with Recognizer.predict")
    foreground, component = prediction.page.mask, prediction.preprocessed.component
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    picture, found, seen, bars = figure.subplots(1, 4, gridspec_kw={"width_ratios": [1, 1, 1, 1.3]})
    picture.imshow(prediction.page.image)
    # The digit in blue, the rest of the foreground in grey.
    shown = np.ones((*foreground.shape, 3))
    shown[foreground] = 0.75
    shown[component.slice][component.image] = (0, 0.447, 0.698)
    found.imshow(shown)
    tile(seen, prediction.image)
    for axes, name in ((picture, "picture"), (found, "foreground"), (seen, "what the network saw")):
        axes.set_title(name, fontsize=11)
        axes.set_xticks([])
        axes.set_yticks([])
    colours = [RIGHT if number == prediction.digit else QUIET for number in range(10)]
    bars.barh(range(10), [100 * probability for probability in prediction.probabilities], color=colours)
    bars.set_yticks(range(10))
    bars.invert_yaxis()
    bars.set_xlim(0, 100)
    bars.set_xlabel("probability, %")
    bars.spines[["top", "right"]].set_visible(False)
    read = prediction.reason or f"read as {prediction.digit}, {percent(prediction.confidence)} sure"
    read += f", {prediction.doubt}" if prediction.doubt else ""
    bars.set_title(read, fontsize=11, color=QUIET if prediction.reason is None else WRONG)
    figure.suptitle(title, fontsize=12).set_parse_math(False)
    return figure


def number(answer: Number, title: str) -> Figure:
    """The picture with a box around each digit, and what it was read as."""
    image, scale = answer.page.image, answer.page.scale
    width, height = (side * scale for side in image.size)  # the boxes are in the original's pixels
    figure = Figure(figsize=(9, max(2.5, min(9, 9 * height / width + 0.6))), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image, extent=(0, width, height, 0))
    for (left, top, right, bottom), each in zip(answer.boxes, answer.predictions, strict=True):
        colour, read = (WRONG, "?") if each.digit is None else (RIGHT, str(each.digit))
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.5))
        axes.annotate(read, (left, top), (0, 3), textcoords="offset points", color=colour, fontsize=13, weight="bold")
    axes.axis("off")
    axes.set_title(f"{title}: {' / '.join(answer.rows) or 'no digit found'}", fontsize=12).set_parse_math(False)
    return figure


def reliability(before: Tensor, after: Tensor, labels: Tensor, title: str) -> Figure:
    """Reliability diagram: accuracy against confidence, before and after calibration, in ten bins of equal count.

    before, after: probabilities, float (n, 10); labels: int64 (n,).
    """
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    for probabilities, name, colour in ((before, "as trained", WRONG), (after, "calibrated", RIGHT)):
        confidence, predicted = probabilities.max(1)
        correct = (predicted == labels).float()
        bins = confidence.argsort().chunk(10)
        means = [[100 * float(values[bin_].mean()) for bin_ in bins] for values in (confidence, correct)]
        axes.plot(*means, "o-", color=colour, label=name)
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    axes.plot((low, 100), (low, 100), color=QUIET, linestyle="--", label="perfectly calibrated")
    _label(axes, "confidence, %", "accuracy, %", title)
    return figure


def rejection(digits: Tensor, outliers: Tensor, threshold: float, title: str) -> Figure:
    """Histograms of the rejection scores of digits and of outliers, with the rejection threshold.

    digits, outliers: float (n,), see calibration.rejection_score.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, max(float(digits.max()), float(outliers.max())), 41)
    for values, name, colour in ((digits, "digits", RIGHT), (outliers, "outliers", WRONG)):
        shares = [100 / len(values)] * len(values)
        label = f"{name}: {float((values < threshold).double().mean()):.1%} rejected"
        axes.hist(values.numpy(), list(edges), weights=shares, color=colour, alpha=0.6, label=label)
    axes.axvline(threshold, color=QUIET, linestyle="--", label="rejection threshold")
    _label(axes, "rejection score, nats", "share, %", title)
    return figure


def _label(axes: Axes, x_label: str, y_label: str, title: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.set_title(title, fontsize=12)
