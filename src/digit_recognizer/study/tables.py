"""What the records say, as tables in Markdown. Trains nothing."""

import dataclasses
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from digit_recognizer.data import TITLES
from digit_recognizer.recipes import RECIPES
from digit_recognizer.recipes.ours import OURS
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import record_store, reproduction
from digit_recognizer.study.record_store import SIZES


def published(out: str | Path) -> str:
    """Each published number, what the seeds gave, in which interval a single run lies, and what that says of it."""
    rows = []
    for answer in reproduction.all_answers(out):
        show = _loss if answer.number.endswith("loss") else _percent
        place = f"{answer.percentile:.1f} %" if answer.comparable else ""
        name = f"`{answer.recipe.name}`" + ("" if answer.dataset == "mnist" else f", {TITLES[answer.dataset]}")
        spread = _mean_and_spread(answer.values, show)
        rows.append((
            answer.recipe.project, name, answer.number, "" if answer.published is None else show(answer.published),
            spread, _range(answer.values, show), str(len(answer.values)), _range(answer.interval, show), place,
            answer.verdict,
        ))  # fmt: skip
    return _table(
        ("source", "recipe", "number", "published", "mean ± deviation", "lowest to highest", "seeds",
         "95 % of single runs", "published lies at", "verdict"), rows,
    )  # fmt: skip


def costs(out: str | Path) -> list[dict[str, Any]]:
    """What charts.accuracy_against_cost draws of the results under a folder, a row for each recipe that has both.

    All on MNIST, those for QMNIST too. Accuracies from the records, seconds from `bench --ladder`: runs beside each
    other would slow each other down.
    """
    rows = []
    for recipe in RECIPES.values():
        accuracies, seconds = _accuracies(out, recipe), _seconds(out, recipe)
        if accuracies and seconds:
            ours = recipe in OURS
            rows.append({"name": recipe.name, "ours": ours, "accuracies": accuracies, "seconds": seconds})
    return rows


def _accuracies(out: str | Path, recipe: Recipe) -> list[float]:
    """On the test part of MNIST, by seeds."""
    found = record_store.read_all(out, dataclasses.replace(recipe, dataset="mnist"))
    return [record["scores"]["accuracy"] for record in found]


def _seconds(out: str | Path, recipe: Recipe) -> list[float]:
    """That its training took by itself, which only `bench --ladder` says."""
    timed = record_store.read_benchmarks(out).get("ladder", {"runs": {}})["runs"]
    return [run["seconds"] for run in timed.get(recipe.name, [])]


def ladder(out: str | Path) -> str:
    """The records of our own recipes, with the seconds that training took on all cores where these were measured."""
    rows = []
    for recipe in OURS:
        if accuracies := _accuracies(out, recipe):
            seconds = _seconds(out, recipe)
            rows.append((
                f"`{recipe.name}`", recipe.network, f"{recipe.parameter_count:,}",
                _mean_and_spread(accuracies, _percent), _range(accuracies, _percent), str(len(accuracies)),
                f"{statistics.median(seconds):.3g}" if seconds else "",
            ))  # fmt: skip
    return _table(
        ("recipe", "network", "weights", "test accuracy: mean ± deviation", "lowest to highest", "seeds", "seconds"),
        rows,
    )


def ensembles(out: str | Path) -> str:
    """What the seeds of each recipe say together: accuracy of the first n on MNIST, no seed chosen."""
    rows = []
    for recipe in (*PUBLISHED, *OURS):
        path = record_store.path_of(out, dataclasses.replace(recipe, dataset="mnist"), "ensemble")
        if path.exists():
            try:
                scores = dict(json.loads(path.read_text())["scores"])
            except (ValueError, LookupError, TypeError) as error:
                raise UserError(f"{path} is no ensemble's scores; delete it, and study makes it again") from error
            cells = [_percent(scores[str(size)]["accuracy"]) if str(size) in scores else "" for size in SIZES]
            rows.append((f"`{recipe.name}`", *cells))
    return _table(("recipe", *(f"n = {size}" for size in SIZES)), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown, with its columns' names only where there are rows."""
    if not rows:
        return ""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _percent(value: float) -> str:
    return f"{value:.2%}"


def _loss(value: float) -> str:
    return f"{value:.4f}"


def _range(values: Sequence[float], show: Any) -> str:
    return f"{show(min(values))} to {show(max(values))}"


def _mean_and_spread(values: Sequence[float], show: Any) -> str:
    spread = f" ± {show(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{show(statistics.mean(values))}{spread}"
