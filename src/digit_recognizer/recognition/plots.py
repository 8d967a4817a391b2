"""Figures of pictures as they were read, of how confident a network is, and of what it rejects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from digit_recognizer.page_reader.detection import Glyph
from digit_recognizer.plots import QUIET, RIGHT, WRONG, tile
from digit_recognizer.preprocessing.page import Page
from digit_recognizer.recipes.page_reader import OTHER
from digit_recognizer.recognition import marks
from digit_recognizer.recognition.prediction import Number, Prediction
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import percent

if TYPE_CHECKING:
    from torch import Tensor

HEAT = LinearSegmentedColormap.from_list("heat", [f"{WRONG}00", f"{WRONG}FF"])  # transparent where there is none


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
    """The upright picture with a box around each digit and what it was read as; doubtful ones and rows are marked."""
    figure, axes, scale = _page_figure(answer.page.image)
    for mark in marks.mark_digits(answer):
        size = min(13.0, max(7.0, 0.6 * scale * (mark.box[3] - mark.box[1])))
        _draw_box(axes, mark.box, mark.text, mark.colour, mark.text_colour, size)
        _write(
            axes, mark.place, (mark.box[0], mark.box[3]), (1, -4), mark.text_colour, mark.colour, 0.7 * size, va="top"
        )
    for row in marks.mark_rows(answer):
        for colour, line_width in (("white", 3), (QUIET, 1)):  # seen on dark paper as well
            axes.plot(row.line[::2], row.line[1::2], color=colour, linewidth=line_width)
        _write(axes, row.name, row.start, (-6, 0), QUIET, "white", 10, ha="right", va="center")
    handles = [Patch(color=marks.COLOURS[certainty], label=label) for certainty, label in marks.LEGEND.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    read = " / ".join(answer.lines) or "no digit found"
    read += f"\n{percent(answer.confidence)} sure of all" if answer.predictions else ""
    read += f"; {'; '.join(answer.unread)}" if answer.unread else ""
    axes.set_title(f"{title}: {read}", fontsize=12, wrap=True).set_parse_math(False)
    return figure


def glyphs(page: Page, centres: np.ndarray, found: Sequence[Glyph], title: str) -> Figure:
    """What PageNet sees: how likely each pixel is a digit's centre, and the glyphs, with their scores and classes.

    centres: float32 (height, width), see detection.find_centres. found: see page_reading.find.
    """
    height, width = page.grey.shape
    figure = Figure(figsize=(11, 5.5 * height / width + 0.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.imshow(page.grey, cmap="gray", vmin=0, vmax=1)
        axes.axis("off")
    left.imshow(centres, cmap=HEAT, vmin=0, vmax=1)
    left.set_title("orange: a digit's centre is likely here", fontsize=11)
    for glyph in found:
        best = int(glyph.probabilities.argmax())
        text = f"{'no digit' if best == OTHER else best}  {glyph.score:.2f}"
        _draw_box(right, glyph.box, text, RIGHT, "white", 7)
    right.set_title("boxes: likeliest class, and score", fontsize=11)
    figure.suptitle(title, fontsize=12).set_parse_math(False)
    return figure


def _page_figure(image: Image.Image) -> tuple[Figure, Axes, float]:
    """A figure as wide as a README with a page in it; and points per pixel of the page."""
    width, height = image.size
    scale = min(9 / width, 8 / height)  # inches per pixel
    figure = Figure(figsize=(9, max(2.5, height * scale + 1)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image, extent=(0, width, height, 0))
    axes.axis("off")
    return figure, axes, 72 * scale


def _draw_box(axes: Axes, box: Sequence[float], text: str, colour: str, text_colour: str, size: float) -> None:
    """A box with a text above its left corner. size: of the text, in points."""
    left, top, right, bottom = box
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.5))
    _write(axes, text, (left, top), (1, 3), text_colour, colour, size, weight="bold")


def _write(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    offset: tuple[float, float],
    colour: str,
    ground: str,
    size: float,
    **style: Any,
) -> None:
    """Text on a ground of one colour. place: in pixels; offset, size: in points."""
    chip = {"facecolor": ground, "edgecolor": ground, "pad": 1}
    axes.annotate(text, place, offset, textcoords="offset points", color=colour, fontsize=size, bbox=chip, **style)


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


def rejection(digits: np.ndarray, outliers: np.ndarray, threshold: float, title: str) -> Figure:
    """Histograms of the rejection scores of digits and of outliers, with the rejection threshold.

    digits, outliers: float (n,), see scores.rejection_score.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, max(float(digits.max()), float(outliers.max())), 41)
    for values, name, colour in ((digits, "digits", RIGHT), (outliers, "outliers", WRONG)):
        shares = [100 / len(values)] * len(values)
        label = f"{name}: {float((values < threshold).mean()):.1%} rejected"
        axes.hist(values, list(edges), weights=shares, color=colour, alpha=0.6, label=label)
    axes.axvline(threshold, color=QUIET, linestyle="--", label="rejection threshold")
    _label(axes, "rejection score, nats", "share, %", title)
    return figure


def _label(axes: Axes, x_label: str, y_label: str, title: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.set_title(title, fontsize=12)
