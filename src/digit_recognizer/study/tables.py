"""Markdown tables of the records. Trains nothing."""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from digit_recognizer.data import TEST_SETS, TITLES
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
        form = ".4f" if result.quantity.endswith("loss") else ".2%"
        percentile = f"{result.percentile:.1f} %" if result.comparable else ""
        name = f"`{result.recipe.name}`" + ("" if result.dataset == "mnist" else f", {TITLES[result.dataset]}")
        published = "" if result.published is None else f"{result.published:{form}}"
        rows.append((
            result.recipe.project, name, result.quantity, published,
            _mean_and_std(result.values, form), _range(result.values, form), str(len(result.values)),
            _range(result.interval, form), percentile, result.conclusion,
        ))  # fmt: skip
    head = ("project", "recipe", "quantity", "published", "mean ± std", "lowest to highest", "seeds")
    return _table((*head, "95 % of single runs", "percentile of the published", "conclusion"), rows)


def costs(out: str | Path) -> list[dict[str, Any]]:
    """The rows of plots.accuracy_against_cost, of each recipe that has test accuracies on MNIST and seconds.

    Accuracies are the records'. Seconds are those of `python -m benchmarks training_time`, since runs of a study, side
    by side, slow each other down.
    """
    found = {recipe: (_accuracies(out, recipe), _seconds(out, recipe)) for recipe in RECIPES.values()}
    return [
        {"name": recipe.name, "ours": recipe in OURS, "accuracies": accuracies, "seconds": seconds}
        for recipe, (accuracies, seconds) in found.items()
        if accuracies and seconds
    ]


def _accuracies(out: str | Path, recipe: Recipe) -> list[float]:
    """Test accuracies on MNIST, by seed."""
    return [record["scores"]["accuracy"] for record in record_store.read_all(out, recipe, "mnist")]


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
                _mean_and_std(accuracies), _range(accuracies), str(len(accuracies)),
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
            known = [scores.get(str(size)) for size in ENSEMBLE_SIZES]
            cells = ["" if each is None else f"{each['accuracy']:.2%}" for each in known]
            rows.append((f"`{recipe.name}`", *cells))
    return _table(("recipe", *(f"n = {size}" for size in ENSEMBLE_SIZES)), rows)


def public_hands(out: str | Path) -> str:
    """Scores on each test set, a column a network: of evaluation/NETWORK/SET.json, by `digits evaluate --json`."""
    networks = sorted({path.parent.name for path in Path(out, "evaluation").glob("*/*.json")})
    rows = []
    for name, title in (TITLES | TEST_SETS).items():
        paths = [Path(out, "evaluation", network, f"{name}.json") for network in networks]
        records = [json.loads(path.read_text()) if path.exists() else {} for path in paths]
        cells = [_measured(record) if record else {} for record in records]
        counts = {f"{title}, {record['count']:,}" for record in records if record}
        for quantity in dict.fromkeys(quantity for each in cells for quantity in each):
            rows.append((counts.pop() if counts else "", quantity, *(each.get(quantity, "") for each in cells)))
    return _table(("test digits", "measure", *(f"`{network}`" for network in networks)), rows)


def _measured(record: dict[str, Any]) -> dict[str, str]:
    """The numbers of a record of `digits evaluate`, by their names; calibrated ones beside those at temperature 1."""
    if "errors" in record:
        errors = {f"error, {kind.replace('_', ' ')}": f"{error:.2%}" for kind, error in record["errors"].items()}
        return errors | {"error, mean of all kinds": f"{record['mean_error']:.2%}"}
    cells = {"accuracy": f"{record['accuracy']:.2%}"}
    names = {"loss": ("negative log-likelihood", ".4f"), "calibration_error": ("calibration error", ".2%")}
    for field, (name, form) in names.items():
        calibrated = f", calibrated {record['calibrated'][field]:{form}}" if "calibrated" in record else ""
        cells[name] = f"{record[field]:{form}}{calibrated}"
    return cells


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; empty without rows."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _range(values: Sequence[float], form: str = ".2%") -> str:
    return f"{min(values):{form}} to {max(values):{form}}"


def _mean_and_std(values: Sequence[float], form: str = ".2%") -> str:
    std = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{std}"
