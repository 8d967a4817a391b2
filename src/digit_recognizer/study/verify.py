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

# By the precision of a recipe's products: how far rounding may lead the first epoch's train loss, and its errors.
FIRST_EPOCH_APART = {"float32": (0.005, 0.01), "bfloat16": (0.01, 0.02)}
TEST_ERRORS_APART = 0.6  # as far as seeds lie apart, which rounding reaches after some epochs
FEW = 5  # test errors, added to both, so that one of three more is not a third more

# What of a record's provenance may make a difference, as it is told.
TOLD = {
    "package": "version of this project",
    "commit": "commit",
    "torch": "torch",
    "numpy": "numpy",
    "python": "Python",
    "system": "system",
    "device": "device",
    "device_name": "processor",
    "instructions": "its instructions",
    "matmul_precision": "matmul precision",
    "threads": "threads",
    "processes": "processes",
}


def run(path: str | Path, data_dir: str | Path | None = None, threads: int | None = None) -> int:
    """Train the run of a record again, in one process, and print whether the same comes of it, and why it may not.

    threads: by default as many as the record says. Returns 0 for identical and within rounding, 1 for different.

    Raises UserError for a file that is no record of a run, and for a data set that cannot be had.
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
    found += differences(then, again["made_with"])
    word, why = verdict(record, again)
    print(table(record, again))
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


def verdict(record: dict[str, Any], again: dict[str, Any]) -> tuple[str, str]:
    """Identical, within rounding or different, and what says so. again: the record of the same run, trained anew."""
    same = record["weights"] == again["weights"]
    if same and _numbers(record, again) == _numbers(again, record):
        return "identical", "the same weights to the bit, the same scores and the same history"
    loss, errors, test_errors = apart(record, again)
    said = f"the first epoch's train loss lies {loss:.3%} apart, its errors {errors:.3%}, test errors {test_errors:.0%}"
    if same:
        return "different", f"the weights are the same to the bit, but the record's numbers are not theirs; {said}"
    most_loss, most_errors = FIRST_EPOCH_APART[record["settings"]["precision"]]
    if loss <= most_loss and errors <= most_errors and test_errors <= TEST_ERRORS_APART:
        return "within rounding", said
    return "different", said


def apart(record: dict[str, Any], again: dict[str, Any]) -> tuple[float, float, float]:
    """How far two runs lie apart, as fractions: train loss and errors of the first epoch, and test errors."""
    first, other = record["history"][0], again["history"][0]
    wrong = [1 - each["scores"]["accuracy"] + FEW / each["scores"]["count"] for each in (record, again)]
    return (
        _relative(first["train_loss"], other["train_loss"]),
        _relative(1 - first["train_accuracy"], 1 - other["train_accuracy"]),
        _relative(*wrong),
    )


def _relative(one: float, other: float) -> float:
    """The difference as a fraction of the smaller."""
    if one == other:
        return 0.0
    return abs(one - other) / min(one, other) if min(one, other) > 0 else math.inf


def _numbers(record: dict[str, Any], other: dict[str, Any]) -> tuple[Any, ...]:
    """Scores, as far as the other has them too, and history but for the seconds: what the same weights must give."""
    scores = {field: value for field, value in record["scores"].items() if field in other["scores"]}
    return scores, [{field: value for field, value in row.items() if field != "seconds"} for row in record["history"]]


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What provenance then and now say differently, in words; and what it did not say then."""
    found = [
        f"{told}: {_short(field, then[field])} then, {_short(field, now.get(field))} now"
        for field, told in TOLD.items()
        if field in then and then[field] != now.get(field)
    ]
    states = {"then": then, "now": now}
    found += [
        f"{when}: changes of the package that are in no commit" for when, of in states.items() if of.get("changed")
    ]
    unsaid = [told for field, told in TOLD.items() if field not in then]
    return found + ([f"not recorded then: {', '.join(unsaid)}"] if unsaid else [])


def _short(field: str, value: Any) -> str:
    return value[:7] if field == "commit" and isinstance(value, str) else str(value)


def table(record: dict[str, Any], again: dict[str, Any]) -> str:
    """What the record says beside what came of its run now, as text."""
    both = (record, again)
    rows = [
        ("", "recorded", "again"),
        ("train loss, epoch 1", *(f"{each['history'][0]['train_loss']:.6f}" for each in both)),
        ("train accuracy, epoch 1", *(f"{each['history'][0]['train_accuracy']:.3%}" for each in both)),
        ("train loss, last epoch", *(f"{each['history'][-1]['train_loss']:.6f}" for each in both)),
        ("test loss", *(f"{each['scores']['loss']:.6f}" for each in both)),
        ("test accuracy", *(f"{each['scores']['accuracy']:.2%}" for each in both)),
        ("weights", *(each["weights"][:8] for each in both)),
    ]
    return "\n".join(f"{name:24}{one:>12}{other:>12}" for name, one, other in rows)
