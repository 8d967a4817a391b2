"""Can a number be made again? The run of a record is trained once more, and the two are compared."""

import json
import math
from pathlib import Path
from typing import Any

import torch

from digit_recognizer import data, recipes, records
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import run as study_run
from digit_recognizer.study import verdicts


def run(path: str | Path, data_dir: str | Path | None = None, threads: int | None = None) -> int:
    """Train the run of a record again, in one process, and print whether the same comes of it, and why it may not.

    threads: by default as many as the record says. Returns 0 for identical and within rounding, 1 for different; see
    verdicts. Raises UserError for a file that is no record of a run, and for a data set that cannot be had.
    """
    record, recipe = read(path)
    then = record["made_with"]
    device = _device(then["device"], threads or then["threads"])
    digits = data.load(record["dataset"], data_dir, validation=recipe.validation)
    others = sorted(file for file, md5 in digits.md5.items() if record["md5"].get(file) != md5)
    made = f"recorded with torch {then['torch']} on {then['device_name']}, threads: {then['threads']}"
    print(f"{recipe.name} on {digits.title}, seed {record['seed']}, {made}", flush=True)
    found = [f"other data, by the MD5s of {', '.join(others)}"] if others else []
    if found:
        print(f"{found[0]}: the same cannot come of it", flush=True)
    again, _ = study_run.train(recipe, digits, record["seed"], device, quiet=False)
    found += verdicts.differences(then, again["made_with"])
    word, why = verdicts.verdict(record, again)
    print(verdicts.table(record, again))
    print(f"what differs from then: {'; '.join(found) or 'nothing that is recorded'}")
    print(f"{word}: {why}")
    return 1 if word == "different" else 0


def read(path: str | Path) -> tuple[dict[str, Any], Recipe]:
    """The record of a run, and the recipe that was trained, rebuilt from the settings in it.

    Raises UserError for a file that cannot be read, is no record of a run, or is one of another version.
    """
    none = f"{path} is no whole record of a run; give one that training or study wrote"
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        number, ensemble = record.get("format"), isinstance(record.get("weights"), list)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise UserError(none) from error
    if ensemble:
        raise UserError(f"{path} is of several seeds together; verify those, one by one: their records lie beside it")
    if type(number) is int and number > records.FORMAT:
        raise UserError(f"{path} was made by a newer version of this project (format {number}); update it")
    try:
        recipe = recipes.of_settings(record["recipe"], record["settings"])
        _check(record, recipe)
    except UserError as error:
        raise UserError(f"{path} cannot be trained again: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(none) from error
    return record, recipe


def _check(record: dict[str, Any], recipe: Recipe) -> None:
    """Raise ValueError, or what JSON of another form leads to, where something is wrong that is read of a record."""
    then, first, scores = record["made_with"], record["history"][0], record["scores"]
    numbers = [row["train_loss"] for row in record["history"]] + [first["train_accuracy"], scores["loss"]]
    whole = [record["seed"], then["threads"], scores["correct"], scores["count"]]
    texts = [record["weights"], record["dataset"], then["device"], then["device_name"], then["torch"]]
    if (
        record["format"] != records.FORMAT
        or len(record["history"]) != recipe.epochs
        or scores["accuracy"] != scores["correct"] / scores["count"]
        or not all(math.isfinite(number) for number in numbers)
        or not all(type(number) is int and 0 <= number < 2**63 for number in whole)
        or not all(isinstance(text, str) for text in texts)
        or not isinstance(record["md5"], dict)
    ):
        raise ValueError("not whole")


def _device(kind: str, threads: int) -> torch.device:
    """The device of that kind, or, where there is none here, the CPU."""
    try:
        return choose_device(kind, threads)
    except UserError:
        return choose_device("cpu", threads)
