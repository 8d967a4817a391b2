"""Markdown tables of the records. Trains nothing."""

import dataclasses
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from digit_recognizer.data import TITLES
from digit_recognizer.recipes import RECIPES
from digit_recognizer.recipes.ours import OURS
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import record_store, reproduction
from digit_recognizer.study.record_store import ENSEMBLE_SIZES


def published(out: str | Path) -> str:
    """Each published number beside mean, range and prediction interval of the seeds."""
    rows = []
    for result in reproduction.published_results(out):
        show = _loss if result.quantity.endswith("loss") else _percent
        percentile = f"{result.percentile:.1f} %" if result.comparable else ""
        name = f"`{result.recipe.name}`" + ("" if result.dataset == "mnist" else f", {TITLES[result.dataset]}")
        rows.append((
            result.recipe.project, name, result.quantity, "" if result.published is None else show(result.published),
            _mean_and_std(result.values, show), _range(result.values, show), str(len(result.values)),
            _range(result.interval, show), percentile, result.conclusion,
        ))  # fmt: skip
    head = ("project", "recipe", "quantity", "published", "mean ± std", "lowest to highest", "seeds")
    return _table((*head, "95 % of single runs", "percentile of the published", "conclusion"), rows)


def costs(out: str | Path) -> list[dict[str, Any]]:
    """The rows of plots.accuracy_against_cost, of each recipe that has test accuracies on MNIST and seconds.

    Accuracies are the records'. Seconds are those of `benchmarks --training-time`, since runs of a study, side by side,
    slow each other down.
    """
    rows = []
    for recipe in RECIPES.values():
        accuracies, seconds = _accuracies(out, recipe), _seconds(out, recipe)
        if accuracies and seconds:
            ours = recipe in OURS
            rows.append({"name": recipe.name, "ours": ours, "accuracies": accuracies, "seconds": seconds})
    return rows


def _accuracies(out: str | Path, recipe: Recipe) -> list[float]:
    """Test accuracies on MNIST, by seed."""
    found = record_store.read_all(out, dataclasses.replace(recipe, dataset="mnist"))
    return [record["scores"]["accuracy"] for record in found]


def _seconds(out: str | Path, recipe: Recipe) -> list[float]:
    """Training times of runs one after the other; empty where they were not measured."""
    runs = record_store.read_benchmarks(out).get("training_time", {"runs": {}})["runs"]
    return [run["seconds"] for run in runs.get(recipe.name, [])]


def our_recipes(out: str | Path) -> str:
    """Test accuracies of our recipes, with the median of the training times where these were measured."""
    rows = []
    for recipe in OURS:
        if accuracies := _accuracies(out, recipe):
            seconds = _seconds(out, recipe)
            rows.append((
                f"`{recipe.name}`", recipe.network, f"{recipe.parameter_count:,}",
                _mean_and_std(accuracies, _percent), _range(accuracies, _percent), str(len(accuracies)),
                f"{statistics.median(seconds):.3g}" if seconds else "",
            ))  # fmt: skip
    head = ("recipe", "network", "parameters", "test accuracy: mean ± std", "lowest to highest", "seeds", "seconds")
    return _table(head, rows)


def ensembles(out: str | Path) -> str:
    """Test accuracies on MNIST of the ensembles of the first n seeds."""
    rows = []
    for recipe in (*PUBLISHED, *OURS):
        path = record_store.record_path(out, dataclasses.replace(recipe, dataset="mnist"), "ensemble")
        if path.exists():
            try:
                scores = dict(json.loads(path.read_text())["scores"])
            except (ValueError, LookupError, TypeError) as error:
                raise UserError(f"{path} does not hold scores of ensembles; delete it and run study again") from error
            cells = [_percent(scores[str(size)]["accuracy"]) if str(size) in scores else "" for size in ENSEMBLE_SIZES]
            rows.append((f"`{recipe.name}`", *cells))
    return _table(("recipe", *(f"n = {size}" for size in ENSEMBLE_SIZES)), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; empty without rows."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _percent(value: float) -> str:
    return f"{value:.2%}"


def _loss(value: float) -> str:
    return f"{value:.4f}"


def _range(values: Sequence[float], show: Callable[[float], str]) -> str:
    return f"{show(min(values))} to {show(max(values))}"


def _mean_and_std(values: Sequence[float], show: Callable[[float], str]) -> str:
    std = f" ± {show(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{show(statistics.mean(values))}{std}"
