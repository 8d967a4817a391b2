"""Every seed of a recipe, one record each: a distribution instead of a single number."""

import json
import statistics
from pathlib import Path
from typing import Any

from digit_recognizer import data, evaluation, files, models, records, training
from digit_recognizer.errors import UserError
from digit_recognizer.recipe import Recipe
from digit_recognizer.recipes import RECIPES


def run(recipes: list[Recipe], seeds: int, out: str | Path, data_dir: str | Path | None = None) -> None:
    """Train every recipe for seeds 0 to seeds - 1; runs whose record is there are skipped.

    Writes out/<recipe>/<dataset>-seed<N>.json. Raises UserError where the recipe's own data set cannot be had.
    """
    files.check_writable(out)
    training.choose_device("cpu", threads=1)
    for recipe in recipes:
        paths = {seed: Path(out) / recipe.name / f"{recipe.dataset}-seed{seed}.json" for seed in range(seeds)}
        missing = [seed for seed, path in paths.items() if not path.exists()]
        if not missing:
            continue
        digits = data.load(recipe.dataset, data_dir, validation=recipe.validation)
        for seed in missing:
            record = train(recipe, digits, seed)
            records.save(paths[seed], record)
            print(f"{recipe.name}, seed {seed}: test accuracy {record['scores']['accuracy']:.2%}", flush=True)


def train(recipe: Recipe, digits: data.Digits, seed: int) -> dict[str, Any]:
    """One run from fresh weights to its record; the test part is scored with the last weights."""
    model, history = training.fit(models.build(recipe, seed), digits, recipe, seed, quiet=True)
    scores = evaluation.score(evaluation.predict(model, digits.test.images), digits.test.labels)
    return records.describe(recipe, digits, seed, model, history, scores)


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


def table(out: str | Path) -> str:
    """The records under a folder as a table in Markdown: published beside measured, mean and spread over seeds."""
    lines = [
        "| recipe | published test accuracy | ours: mean ± standard deviation | lowest to highest | seeds |",
        "|---|---|---|---|---|",
    ]
    for recipe in RECIPES.values():
        accuracies = [record["scores"]["accuracy"] for record in read(out, recipe)]
        if accuracies:
            published = recipe.published.test_accuracy
            spread = statistics.stdev(accuracies) if len(accuracies) > 1 else float("nan")
            lines.append(
                f"| `{recipe.name}` | {'not stated' if published is None else f'{published:.2%}'} "
                f"| {statistics.mean(accuracies):.2%} ± {spread:.2%} "
                f"| {min(accuracies):.2%} to {max(accuracies):.2%} | {len(accuracies)} |"
            )
    return "\n".join(lines)
