"""A run as a small JSON file, from which tables and figures can be made again, and where a run's files lie."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from digit_recognizer import recipes
from digit_recognizer.data import Digits
from digit_recognizer.evaluation import Scores
from digit_recognizer.recipes.recipe import Published, Recipe
from digit_recognizer.runtime import files, provenance

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
    overrides = json.loads(json.dumps(recipes.overrides_of(recipe), default=asdict))  # as JSON reads them again
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
