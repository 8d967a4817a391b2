"""The records of a study in a folder: where each lies, and reading them again; and the file of the benchmarks."""

import json
import math
from pathlib import Path
from typing import Any

from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.records import identity
from digit_recognizer.runtime.errors import UserError

SIZES = (1, 3, 5, 10)  # of ensembles: how many seeds together are reported
BENCHMARKS = ("ladder", "peers", "crowd", "scaling")  # parts of benchmark.json, beside what `benchmarks` alone writes


def path_of(folder: str | Path, recipe: Recipe, seed: int | str) -> Path:
    """Where a study keeps the record of a seed, or of all seeds as one."""
    name = seed if isinstance(seed, str) else f"seed{seed}"
    return Path(folder) / recipe.name / f"{recipe.dataset}-{name}.json"


def read(folder: str | Path, recipe: Recipe, seed: int) -> dict[str, Any]:
    """The record of a study's run. Raises UserError for one that is not whole, or of another run or format."""
    path = path_of(folder, recipe, seed)
    try:
        record = json.loads(path.read_text())
        other = [field for field, value in identity(recipe, seed).items() if record.get(field) != value]
        whole = bool(other) or _is_whole(record, recipe.epochs)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{path} is no whole record; study sets it aside and makes it again") from error
    if not whole:
        raise UserError(f"{path} is no whole record; study sets it aside and makes it again")
    if other:
        raise UserError(f"{path} is of another run: other {other[0]}; study sets it aside and makes it again")
    return record


def _is_whole(record: dict[str, Any], epochs: int) -> bool:
    """Whether all numbers are there that are read of a record, and agree. Raises what JSON of another form leads to."""
    scores, rows = record["scores"], record["history"]
    measured = [scores["loss"], scores["mean_of_batch_means"]]
    measured += [row[field] for row in rows for field in ("train_loss", "train_accuracy", "seconds")]
    measured += [row["held_out_accuracy"] for row in rows if row["held_out_accuracy"] is not None]
    return (
        [row["epoch"] for row in rows] == list(range(1, epochs + 1))
        and rows[-1]["held_out_accuracy"] is not None
        and scores["accuracy"] == scores["correct"] / scores["count"]
        and all(math.isfinite(number) for number in measured)
        and len(record["weights"]) == 64
    )


def read_all(folder: str | Path, recipe: Recipe) -> list[dict[str, Any]]:
    """The records of a recipe on its own data set, by seed. Raises UserError for one that read would not take."""
    return [read(folder, recipe, seed) for seed in seeds_there(folder, recipe)]


def seeds_there(folder: str | Path, recipe: Recipe) -> list[int]:
    """The seeds of which there are records, whole or not, in order."""
    names = (path.stem.rpartition("seed")[2] for path in Path(folder, recipe.name).glob(f"{recipe.dataset}-seed*.json"))
    return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))


def read_benchmarks(folder: str | Path) -> dict[str, Any]:
    """What stands in folder/benchmark.json, nothing where there is none. Raises UserError for what is no result."""
    path = Path(folder) / "benchmark.json"
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
        if not isinstance(found, dict) or not all(isinstance(found.get(part, {}), dict) for part in BENCHMARKS):
            raise ValueError
        return found
    except ValueError as error:
        raise UserError(f"{path} is not a benchmark's result; delete it and run again") from error
