"""Figures from arrays. Nothing here trains or loads; a caller shows or saves what it gets.

Two colours carry meaning: blue for correct, orange for wrong (Okabe and Ito: colour-blind eyes tell them apart). Wrong
digits also have a frame. Digits are drawn dark on light.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from digit_recognizer.runtime import files
from digit_recognizer.runtime.text import percent

if TYPE_CHECKING:  # a figure of a picture that was read needs no PyTorch
    from torch import Tensor

RIGHT, WRONG, QUIET = "#0072B2", "#D55E00", "#555555"


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, atomically, at the width of a README."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    files.write_atomically(path, buffer.getvalue())


def tile(axes: Axes, image: Any, frame: str | None = None) -> None:
    """One digit, 0 to 255, without ticks; with a frame where a colour is given."""
    axes.imshow(np.asarray(image), cmap="gray_r", vmin=0, vmax=255)
    axes.set_axis_on()
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(frame or "#CCCCCC")
        spine.set_linewidth(2.5 if frame else 0.5)


def _tiles(rows: int, columns: int, width: float, height: float, title: str) -> tuple[Figure, list[Axes]]:
    """A figure with a title and a grid of empty axes of that size, in inches."""
    figure = Figure(figsize=(width * columns, height * rows + 0.7), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for each in axes:
        each.set_axis_off()
    figure.suptitle(title, fontsize=13)
    return figure, axes


def digits_overview(images: Tensor, labels: Tensor, title: str, rows: int = 5) -> Figure:
    """A column for each digit: its count, the mean of all, and the first few.

    images: uint8 (n, 28, 28), foreground bright; labels: int64 (n,).
    """
    title = f"{title}: {len(labels):,} digits, how many of each, their mean, and the first of each"
    figure, axes = _tiles(rows + 1, 10, 0.9, 0.98, title)
    for digit in range(10):
        chosen = images[labels == digit]
        tile(axes[digit], chosen.float().mean(0) if len(chosen) else np.zeros((28, 28)))
        axes[digit].set_title(f"{digit}\n{len(chosen):,}", fontsize=11)
        for row in range(rows):
            tile(axes[10 * (row + 1) + digit], chosen[row] if row < len(chosen) else np.zeros((28, 28)))
    for index, label in ((0, "mean"), (10, "examples")):
        axes[index].set_ylabel(label, fontsize=11, color=QUIET)
    return figure


def prediction_grid(
    images: Tensor, labels: Tensor, predicted: Tensor, title: str, shape: tuple[int, int] = (6, 10)
) -> Figure:
    """The first digits of a set with true and predicted label, wrong ones in orange with a frame.

    images: uint8 (n, 28, 28); labels, predicted: int64 (n,). Chosen by index, so that every picture shows the same
    digits. shape: rows and columns.
    """
    rows, columns = shape
    count = min(rows * columns, len(labels))
    wrong = int((labels[:count] != predicted[:count]).sum())
    title = f"{title}: the first {count} digits, {count - wrong} read right, {wrong} wrong"
    figure, axes = _tiles(rows, columns, 0.98, 1.22, title)
    for each, image, truth, guess in zip(axes, images, labels.tolist(), predicted.tolist(), strict=False):
        tile(each, image, frame=WRONG if truth != guess else None)
        colour, weight = (RIGHT, "normal") if truth == guess else (WRONG, "bold")
        each.set_title(f"true {truth}\nread {guess}", fontsize=10, color=colour, fontweight=weight, pad=3)
    return figure


def mistakes(images: Tensor, labels: Tensor, logits: Tensor, title: str, shape: tuple[int, int] = (4, 8)) -> Figure:
    """The wrong predictions, the most confident first, with confidence and runner-up.

    images: uint8 (n, 28, 28); labels: int64 (n,); logits: float (n, 10).
    """
    rows, columns = shape
    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    wrong = (predicted != labels).nonzero().flatten()
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][: rows * columns]
    which = f", the {len(worst)} most confident of them" if len(worst) < len(wrong) else ", all of them"
    title += f": {len(wrong) or 'none'} of {len(labels):,} digits read wrong{which if len(wrong) else ''}"
    figure, axes = _tiles(max(1, min(rows, -(-len(worst) // columns))), columns, 1.22, 1.62, title)
    for each, index in zip(axes, worst.tolist(), strict=False):
        second = int(probabilities[index].argsort(descending=True)[1])
        tile(each, images[index])
        each.set_title(f"true {int(labels[index])}, read {int(predicted[index])}", fontsize=10, color=WRONG, pad=3)
        sure, then = percent(float(confidence[index])), percent(float(probabilities[index, second]))
        each.set_xlabel(f"{sure} sure\nthen {second}: {then}", fontsize=9, color=QUIET, labelpad=2)
    return figure


def first_layer(weights: Tensor, title: str, shape: tuple[int, int] = (4, 10)) -> Figure:
    """Weights of first-layer units as images: blue where they want foreground, orange where they want background.

    weights: float (units, height, width); the units with the largest weights are shown, each scaled to itself.
    """
    rows, columns = shape
    units = weights.flatten(1).norm(dim=1).argsort(descending=True)[: rows * columns].tolist()
    title += f"\nwhat {len(units)} of {len(weights)} first-layer units look for (blue ink, orange paper)"
    figure, axes = _tiles(-(-len(units) // columns), columns, 0.98, 0.98, title)
    colours = LinearSegmentedColormap.from_list("weights", [WRONG, "#FFFFFF", RIGHT])
    for each, unit in zip(axes, units, strict=False):
        limit = float(weights[unit].abs().max())
        each.imshow(weights[unit].numpy(), cmap=colours, vmin=-limit, vmax=limit)
    return figure


def prediction(image: Tensor, probabilities: Tensor) -> Figure:
    """One digit as the network saw it, uint8 (28, 28), and its ten probabilities, float (10,), as bars."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 2.2])
    tile(left, image)
    left.set_title("what the network saw", fontsize=11)
    best = int(probabilities.argmax())
    values = probabilities.tolist()
    bars = right.bar(range(10), values, color=[RIGHT if k == best else "#BBBBBB" for k in range(10)])
    right.bar_label(bars, [percent(p) if p >= 0.005 else "" for p in values], fontsize=9)
    right.set(xticks=range(10), ylim=(0, 1.12), xlabel="digit", ylabel="probability")
    right.spines[["top", "right"]].set_visible(False)
    return figure


def training_curves(history: Sequence[dict[str, Any]], title: str) -> Figure:
    """Loss and accuracy by epoch, of training's history: running values in training, and the held-out part."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs, held_out = [metrics["epoch"] for metrics in history], history[0]["held_out"]
    lines = (("train (running)", "train", RIGHT, "o"), (held_out, "held_out", WRONG, "s"))
    for axes, quantity, scale in zip(figure.subplots(1, 2), ("loss", "accuracy"), (1, 100), strict=True):
        for label, name, colour, marker in lines:
            values = [metrics[f"{name}_{quantity}"] for metrics in history]
            points = [np.nan if value is None else value * scale for value in values]
            axes.plot(epochs, points, color=colour, marker=marker if len(epochs) <= 30 else None, label=label)
        axes.set(xlabel="epoch", ylabel="loss (nats per digit)" if quantity == "loss" else "accuracy (%)")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)  # one epoch: one tick
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle(title, fontsize=13)
    return figure


def confusion_matrix(confusion: Tensor, title: str) -> Figure:
    """Counts of true against predicted digits, int (10, 10); colour shows the mistakes alone, not the diagonal."""
    figure = Figure(figsize=(7.2, 6.4), layout="constrained")
    axes = figure.subplots()
    counts = confusion.numpy()
    errors = counts - np.diag(counts.diagonal())
    colours = LinearSegmentedColormap.from_list("errors", ["#FFFFFF", WRONG])
    image = axes.imshow(errors, cmap=colours, vmin=0, vmax=max(1, errors.max()))
    for (truth, guess), count in np.ndenumerate(counts):
        if count or truth == guess:
            colour, weight = (RIGHT, "bold") if truth == guess else ("black", "normal")
            axes.text(guess, truth, f"{count:,}", ha="center", va="center", color=colour, fontweight=weight)
    axes.set(xticks=range(10), yticks=range(10), xlabel="read as", ylabel="true digit")
    right, total = int(np.trace(counts)), int(counts.sum())
    axes.set_title(f"{title}: {right:,} of {total:,} read right ({right / total:.2%})", fontsize=13)
    figure.colorbar(image, ax=axes, label="mistakes", shrink=0.8)
    return figure
