"""A run as a small JSON file, from which tables and figures can be made again, and where a run's files lie."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from digit_recognizer import recipes
from digit_recognizer.data import TEST_SETS, TITLES, Digits
from digit_recognizer.evaluation import Scores
from digit_recognizer.recipes.recipe import Published, Recipe, as_recorded
from digit_recognizer.recipes.spreads import SPREADS, Spread
from digit_recognizer.runtime import files, provenance
from digit_recognizer.runtime.text import columns

FORMAT = 3


@dataclass(frozen=True)
class Outputs:
    """The files of a run. Only MNIST's have the plain names, so that no other set ever overwrites them."""

    model: Path
    progress: Path
    figures: Path
    record: Path


def outputs(folder: str | Path, recipe: Recipe, dataset: str, seed: int) -> Outputs:
    """The files of a run under a folder, which is made. Raises UserError where it cannot be written."""
    folder = Path(folder)
    files.check_writable(folder)
    return Outputs(
        model=folder / f"{dataset}_model.pth",
        progress=folder / "runs" / recipe.name / f"{dataset}-seed{seed}.progress.pth",
        figures=folder / "figures" if dataset == "mnist" else folder / "figures" / dataset,
        record=folder / "runs" / recipe.name / f"{dataset}-seed{seed}.json",
    )


def describe(
    recipe: Recipe,
    digits: Digits,
    seed: int,
    model: nn.Module,
    history: list[dict[str, Any]],
    scores: Scores,
    calibration: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Everything about a finished run, in plain types: what was trained, on what, how, and with which result.

    calibration: see recognition.calibration.calibrate. Accuracies are fractions, losses nats per digit, seconds are of
    training alone.
    """
    return {
        **identity(recipe, seed),
        "dataset": digits.name,
        "md5": dict(digits.md5),
        "scores": scores_as_dict(scores),
        "calibration": calibration,
        "history": history,
        "seconds": sum(row["seconds"] for row in history),
        "weights": provenance.weights_hash(model),
        "made_with": provenance.collect(model, recipe.precision),
    }


def identity(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Which run a record is of: a recipe on its own data set, with all its settings, and the seed."""
    overrides = json.loads(json.dumps(recipes.overrides_of(recipe), default=as_recorded))  # as JSON reads them again
    run = {"recipe": recipe.name, "overrides": overrides, "seed": seed, "dataset": recipe.dataset}
    return {"format": FORMAT, **run, "settings": recipe.settings}


def scores_as_dict(scores: Scores) -> dict[str, Any]:
    """Scores in plain types: accuracy and its interval as fractions, loss in nats per digit."""
    return {
        "count": scores.count,
        "correct": scores.correct,
        "accuracy": scores.accuracy,
        "interval": list(scores.interval),
        "loss": scores.mean_loss,
    }


def save(path: str | Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, atomically."""
    files.write_atomically(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


def published_for(recipe: Recipe | None, dataset: str) -> Published | None:
    """What a recipe's source reports, if it reports this very training on this data set; else None."""
    if recipe is None or (known := recipes.RECIPES.get(recipe.name)) is None:
        return None
    return known.published if known.dataset == dataset and known.settings == recipe.settings else None


def comparison(recipe: Recipe | None, dataset: str, scores: Scores, last_epoch: dict[str, Any] | None = None) -> str:
    """A run beside the published numbers and the spread of seeds, and its test-set interval, as text.

    recipe: None where it is not known. last_epoch: the last row of training's history, whose train loss and accuracy
    are running values.
    """
    published = published_for(recipe, dataset)
    spreads = SPREADS.get(recipe.name, {}) if recipe and published else {}
    measured = {"test_loss": scores.mean_loss, "test_accuracy": scores.accuracy}
    if last_epoch is not None:
        if last_epoch["held_out"] == "validation":
            measured = {"validation_accuracy": last_epoch["held_out_accuracy"]} | measured
        measured = {field: last_epoch[field] for field in ("train_loss", "train_accuracy")} | measured
    rows: list[tuple[str, ...]] = [("", "published", "this run", "seeds: mean ± std (n)", "95 % of single runs")]
    rows += [_row(name, getattr(published, name, None), value, spreads.get(name)) for name, value in measured.items()]
    heading = f"{(TITLES | TEST_SETS).get(dataset, dataset)}, n = {scores.count:,} test digits"
    if published is None:
        heading += " (nothing is published of this training on this data set)"
    kept = [column for column in zip(*rows, strict=True) if set(column[1:]) != {"-"}]  # what has a number
    lines = [heading, columns([*zip(*kept, strict=True)])]
    if spread := spreads.get("test_accuracy"):
        lines.append(_position(published.test_accuracy if published else None, scores.accuracy, spread))
    low, high = scores.interval
    return "\n".join([*lines, f"95 % test-set interval of this network: {low:.2%} to {high:.2%}"])


def _row(name: str, published: float | None, value: float, spread: Spread | None) -> tuple[str, ...]:
    """A line of the comparison."""
    form = "{:.2%}" if name.endswith("accuracy") else "{:.4f}"
    cells = [name.replace("_", " "), "-" if published is None else form.format(published), form.format(value), "-", "-"]
    if spread is not None:
        mean, std, low, high = (form.format(number) for number in (spread.mean, spread.std, spread.low, spread.high))
        cells[3:] = f"{mean} ± {std} ({spread.seeds})", f"{low} to {high}"
    return tuple(cells)


def _position(published: float | None, accuracy: float, spread: Spread) -> str:
    """Where the published test accuracy and this run's lie in the spread of seeds, in words."""
    here = spread.locate(accuracy)
    if published is None:
        return f"this run's {accuracy:.2%} lies {here} the spread of seeds"
    there = spread.locate(published)
    if there == here:
        return f"the published {published:.2%} and this run's {accuracy:.2%} lie {here} the spread of seeds"
    return f"the published {published:.2%} lies {there} the spread of seeds, this run's {accuracy:.2%} {here} it"
