"""The files of a study: where records lie, reading and validating them, and the file of the benchmarks."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.records import identity
from digit_recognizer.runtime.errors import UserError

ENSEMBLE_SIZES = (1, 3, 5, 10)  # numbers of seeds
# Parts of benchmark.json that are objects.
BENCHMARKS = ("training_time", "frameworks", "contention", "scaling", "reading_time")


def record_path(folder: str | Path, recipe: Recipe, seed: int | str) -> Path:
    """The record of a recipe, on its data set, and a seed, or "ensemble"."""
    name = seed if isinstance(seed, str) else f"seed{seed}"
    return Path(folder) / recipe.name / f"{recipe.dataset}-{name}.json"


def read(folder: str | Path, recipe: Recipe, seed: int) -> dict[str, Any]:
    """The record of a run. Raises UserError for one that is damaged, or of another run or format."""
    path = record_path(folder, recipe, seed)
    try:
        record = json.loads(path.read_text())
        other = [field for field, value in identity(recipe, seed).items() if record.get(field) != value]
        if not other and not _is_complete(record, recipe.epochs):
            raise ValueError
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{path} is damaged; study sets it aside and makes it again") from error
    if other:
        raise UserError(f"{path} is of another run: other {other[0]}; study sets it aside and makes it again")
    return record


def _is_complete(record: dict[str, Any], epochs: int) -> bool:
    """Whether all numbers that are read of a record are there, finite and consistent. May raise on other JSON."""
    scores, history = record["scores"], record["history"]
    measured = [scores["loss"], scores["mean_of_batch_means"]]
    measured += [metrics[field] for metrics in history for field in ("train_loss", "train_accuracy", "seconds")]
    measured += [metrics["held_out_accuracy"] for metrics in history if metrics["held_out_accuracy"] is not None]
    return (
        [metrics["epoch"] for metrics in history] == list(range(1, epochs + 1))
        and history[-1]["held_out_accuracy"] is not None
        and scores["accuracy"] == scores["correct"] / scores["count"]
        and all(math.isfinite(number) for number in measured)
        and len(record["weights"]) == 64
    )


def read_all(folder: str | Path, recipe: Recipe, dataset: str | None = None) -> list[dict[str, Any]]:
    """The records of a recipe by seed, on its own data set or another. Raises UserError as `read` does."""
    recipe = dataclasses.replace(recipe, dataset=dataset or recipe.dataset)
    return [read(folder, recipe, seed) for seed in list_seeds(folder, recipe)]


def list_seeds(folder: str | Path, recipe: Recipe) -> list[int]:
    """The seeds that have a record, damaged ones included, in order."""
    names = (path.stem.rpartition("seed")[2] for path in Path(folder, recipe.name).glob(f"{recipe.dataset}-seed*.json"))
    return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))


def read_benchmarks(folder: str | Path) -> dict[str, Any]:
    """The content of folder/benchmark.json, {} without one. Raises UserError for other content."""
    path = Path(folder) / "benchmark.json"
    try:
        results = json.loads(path.read_text()) if path.exists() else {}
        if not isinstance(results, dict) or not all(isinstance(results.get(part, {}), dict) for part in BENCHMARKS):
            raise ValueError
        return results
    except ValueError as error:
        raise UserError(f"{path} does not hold results of benchmarks; delete it and run again") from error
