"""What the records say: tables in Markdown, and what the figures are drawn from. Trains nothing."""

import json
import statistics
from pathlib import Path
from typing import Any

from digit_recognizer import measurements, records
from digit_recognizer.ladder import LADDER
from digit_recognizer.published import PUBLISHED
from digit_recognizer.recipes import RECIPES
from digit_recognizer.study import ENSEMBLES


def costs(out: str | Path) -> list[dict[str, Any]]:
    """What charts.accuracy_against_cost draws of the results under a folder, a row for each recipe that has both.

    Accuracies from the records, seconds from `bench --ladder`: runs beside each other would slow each other down.
    """
    timed = measurements.kept(out).get("ladder", {"runs": {}})["runs"]
    rows = []
    for recipe in RECIPES.values():
        accuracies = [record["scores"]["accuracy"] for record in records.read_all(out, recipe)]
        seconds = [run["seconds"] for run in timed.get(recipe.name, [])]
        if accuracies and seconds:
            ours = recipe in LADDER
            rows.append({"name": recipe.name, "ours": ours, "accuracies": accuracies, "seconds": seconds})
    return rows


def ladder(out: str | Path) -> str:
    """The records of our own recipes as a table in Markdown, with the seconds that training took on all cores."""
    lines = [
        "| recipe | network | weights | test accuracy: mean ± deviation | lowest to highest | seeds | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in costs(out):
        if row["ours"]:
            recipe, accuracies = RECIPES[row["name"]], row["accuracies"]
            lines.append(
                f"| `{recipe.name}` | {recipe.network} | {recipe.parameter_count:,} | {_mean_and_spread(accuracies)} "
                f"| {min(accuracies):.2%} to {max(accuracies):.2%} | {len(accuracies)} "
                f"| {statistics.median(row['seconds']):.3g} |"
            )
    return "\n".join(lines)


def ensembles(out: str | Path) -> str:
    """What the seeds of each recipe say together, as a table in Markdown: accuracy of the first n, no seed chosen."""
    lines = [f"| recipe | {' | '.join(f'n = {size}' for size in ENSEMBLES)} |", "|---" * (len(ENSEMBLES) + 1) + "|"]
    for recipe in RECIPES.values():
        path = records.path_of(out, recipe, "ensemble")
        if path.exists():
            scores = json.loads(path.read_text())["scores"]
            cells = [f"{scores[str(size)]['accuracy']:.2%}" if str(size) in scores else "" for size in ENSEMBLES]
            lines.append(f"| `{recipe.name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean_and_spread(values: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.2%} ± {spread:.2%}"


def table(out: str | Path) -> str:
    """The records of the published recipes as a table in Markdown: published beside measured, mean and spread."""
    lines = [
        "| recipe | published test accuracy | ours: mean ± standard deviation | lowest to highest | seeds |",
        "|---|---|---|---|---|",
    ]
    for recipe in PUBLISHED:
        accuracies = [record["scores"]["accuracy"] for record in records.read_all(out, recipe)]
        if accuracies:
            published = recipe.published.test_accuracy
            lines.append(
                f"| `{recipe.name}` | {'not stated' if published is None else f'{published:.2%}'} "
                f"| {_mean_and_spread(accuracies)} "
                f"| {min(accuracies):.2%} to {max(accuracies):.2%} | {len(accuracies)} |"
            )
    return "\n".join(lines)
