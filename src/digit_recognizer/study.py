"""Every seed of a recipe, one record each: a distribution instead of a single number; and all seeds as one."""

import functools
import json
import statistics
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor

from digit_recognizer import data, devices, evaluation, files, measurements, models, records, training
from digit_recognizer.errors import UserError
from digit_recognizer.ladder import LADDER
from digit_recognizer.published import PUBLISHED
from digit_recognizer.recipe import Recipe
from digit_recognizer.recipes import RECIPES

ENSEMBLES = (1, 3, 5, 10)  # sizes that are reported, always the first seeds


def run(
    recipes: list[Recipe], seeds: int, out: str | Path, data_dir: str | Path | None = None, workers: int = 1
) -> None:
    """Train every recipe for seeds 0 to seeds - 1, one thread each; runs whose record is there are skipped.

    Writes out/<recipe>/<dataset>-seed<N>.json, its probabilities beside it, and what the seeds say together. Raises
    UserError where the recipe's own data set cannot be had. workers: processes at a time.
    """
    files.check_writable(out)
    missing = [(recipe, seed) for recipe in recipes for seed in range(seeds) if not _path(out, recipe, seed).exists()]
    for name, validation in sorted({(recipe.dataset, recipe.validation) for recipe, _ in missing}):
        _digits(name, data_dir, validation)  # whatever cannot be had stops the study before it begins
    one = joblib.delayed(_train_and_save)
    runs = (one(recipe, seed, out, data_dir) for recipe, seed in missing)
    for line in joblib.Parallel(workers, return_as="generator_unordered")(runs):
        print(line, flush=True)
    for recipe in {recipe.name: recipe for recipe, _ in missing}.values():
        together = ensemble(out, recipe, _digits(recipe.dataset, data_dir, recipe.validation).test.labels)
        if len(together["scores"]) > 1:
            records.save(_path(out, recipe, "ensemble"), together)


def _path(out: str | Path, recipe: Recipe, seed: int | str) -> Path:
    """Where the record of a seed lies, or of all seeds as one."""
    name = seed if isinstance(seed, str) else f"seed{seed}"
    return Path(out) / recipe.name / f"{recipe.dataset}-{name}.json"


@functools.cache
def _digits(name: str, data_dir: str | Path | None, validation: bool) -> data.Digits:
    return data.load(name, data_dir, validation=validation)


def _train_and_save(recipe: Recipe, seed: int, out: str | Path, data_dir: str | Path | None) -> str:
    """One run, in whatever process. Returns its result as a line of text."""
    devices.choose("cpu", threads=1)
    record, logits = train(recipe, _digits(recipe.dataset, data_dir, recipe.validation), seed)
    path = _path(out, recipe, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".npy"), logits.softmax(1).numpy())
    records.save(path, record)
    return f"{recipe.name}, seed {seed}: test accuracy {record['scores']['accuracy']:.2%}"


def train(recipe: Recipe, digits: data.Digits, seed: int) -> tuple[dict[str, Any], Tensor]:
    """One run from fresh weights to its record and its logits of the test part, scored with the last weights."""
    model, history = training.fit(models.build(recipe, seed), digits, recipe, seed, quiet=True)
    logits = evaluation.predict(model, digits.test.images)
    scores = evaluation.score(logits, digits.test.labels)
    return records.describe(recipe, digits, seed, model, history, scores), logits


def ensemble(out: str | Path, recipe: Recipe, labels: Tensor) -> dict[str, Any]:
    """Scores of the mean of the probabilities of the first n seeds, for each n that there is; no seed is chosen.

    labels: int64 (n,) of the test part. weights: the hash of each member's, in order.
    """
    members = [(record, _path(out, recipe, record["seed"]).with_suffix(".npy")) for record in read(out, recipe)]
    members = [(record, torch.from_numpy(np.load(path))) for record, path in members if path.exists()]
    sizes = [size for size in ENSEMBLES if size <= len(members)]
    means = {size: torch.stack([probabilities for _, probabilities in members[:size]]).mean(0) for size in sizes}
    return {
        "recipe": recipe.name,
        "dataset": recipe.dataset,
        "weights": [record["weights"] for record, _ in members],
        "scores": {
            str(size): records.scores_as_dict(evaluation.score(mean.log(), labels)) for size, mean in means.items()
        },
    }


def read(out: str | Path, recipe: Recipe) -> list[dict[str, Any]]:
    """The records of a recipe on its own data set, by seed. Raises UserError for one that cannot be read."""
    found = []
    for path in sorted(Path(out, recipe.name).glob(f"{recipe.dataset}-seed*.json")):
        try:
            record = json.loads(path.read_text())
            float(record["scores"]["accuracy"])
            found.append((int(record["seed"]), record))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a record; delete it and run the study again") from error
    return [record for _, record in sorted(found, key=lambda entry: entry[0])]


def costs(out: str | Path) -> list[dict[str, Any]]:
    """What charts.accuracy_against_cost draws of the results under a folder, a row for each recipe that has both.

    Accuracies from the records, seconds from `bench --ladder`: runs beside each other would slow each other down.
    """
    timed = measurements.kept(out).get("ladder", {"runs": {}})["runs"]
    rows = []
    for recipe in RECIPES.values():
        accuracies = [record["scores"]["accuracy"] for record in read(out, recipe)]
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
        path = _path(out, recipe, "ensemble")
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
        accuracies = [record["scores"]["accuracy"] for record in read(out, recipe)]
        if accuracies:
            published = recipe.published.test_accuracy
            lines.append(
                f"| `{recipe.name}` | {'not stated' if published is None else f'{published:.2%}'} "
                f"| {_mean_and_spread(accuracies)} "
                f"| {min(accuracies):.2%} to {max(accuracies):.2%} | {len(accuracies)} |"
            )
    return "\n".join(lines)
