"""Can a number be reproduced? Trains the run of a record again and compares: bitwise, within tolerance or different."""

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

# By precision: relative differences of the first epoch's train loss and train error rate that rounding may cause.
FIRST_EPOCH_TOLERANCE = {"float32": (0.005, 0.01), "bfloat16": (0.01, 0.02)}
TEST_ERROR_TOLERANCE = 0.6  # as far as seeds differ, which rounding reaches after some epochs
EXTRA_ERRORS = 5  # added to both numbers of test errors, so that 4 instead of 3 is not a third more

# Fields of the provenance that may change the result, as they are named in the output.
PROVENANCE_FIELDS = {
    "package": "version of this project",
    "commit": "commit",
    "torch": "torch",
    "numpy": "numpy",
    "python": "Python",
    "system": "system",
    "device": "device",
    "device_name": "processor",
    "instructions": "instruction set",
    "matmul_precision": "matmul precision",
    "training_precision": "training precision",
    "threads": "threads",
    "processes": "processes",
}


def run(path: str | Path, data_dir: str | Path | None = None, threads: int | None = None) -> int:
    """Train the run of a record again, in one process; print whether the result is the same, and what may differ.

    threads: by default as many as the record says. Returns 0 for bitwise and within tolerance, 1 for different. Raises
    UserError for a file that is not the record of a run, and for a data set that is not available.
    """
    record, recipe = read(path)
    then = record["made_with"]
    device = _device(then["device"], threads or then["threads"])
    digits = data.load(record["dataset"], data_dir, validation=recipe.validation)
    others = sorted(file for file, md5 in digits.md5.items() if record["md5"].get(file) != md5)
    made = f"recorded with torch {then['torch']} on {then['device_name']}, threads: {then['threads']}"
    print(f"{recipe.name} on {digits.title}, seed {record['seed']}, {made}", flush=True)
    causes = [f"other data, by the MD5s of {', '.join(others)}"] if others else []
    if causes:
        print(f"{causes[0]}: the result cannot be the same", flush=True)
    again, _ = study_run.train(recipe, digits, record["seed"], device, quiet=False)
    causes += provenance_differences(then, again["made_with"])
    verdict, reason = compare(record, again)
    print(table(record, again))
    print(f"differences in provenance: {'; '.join(causes) or 'none recorded'}")
    print(f"{verdict}: {reason}")
    return 1 if verdict == "different" else 0


def read(path: str | Path) -> tuple[dict[str, Any], Recipe]:
    """The record of a run, and the recipe that was trained, rebuilt from the settings in it.

    Raises UserError for a file that is unreadable, not a complete record of a run, or of another version.
    """
    invalid = f"{path} is not a complete record of a run; give one that training or study wrote"
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        number, ensemble = record.get("format"), isinstance(record.get("weights"), list)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise UserError(invalid) from error
    if ensemble:
        raise UserError(f"{path} is of an ensemble; verify the records of its members, which lie beside it")
    if type(number) is int and number > records.FORMAT:
        raise UserError(f"{path} was made by a newer version of this project (format {number}); update it")
    try:
        recipe = recipes.of_settings(record["recipe"], record["settings"])
        _validate(record, recipe)
    except UserError as error:
        raise UserError(f"{path} cannot be trained again: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(invalid) from error
    return record, recipe


def _validate(record: dict[str, Any], recipe: Recipe) -> None:
    """Raise ValueError, or an error of another type, where a field that verify reads is invalid."""
    then, first, scores = record["made_with"], record["history"][0], record["scores"]
    numbers = [metrics["train_loss"] for metrics in record["history"]] + [first["train_accuracy"], scores["loss"]]
    whole = [record["seed"], then["threads"], scores["correct"], scores["count"]]
    texts = [record["weights"], record["dataset"], then["device"], then["device_name"], then["torch"]]
    if (
        record["format"] != records.FORMAT
        or record["settings"] != recipe.settings  # a field is missing
        or len(record["history"]) != recipe.epochs
        or scores["accuracy"] != scores["correct"] / scores["count"]
        or not all(math.isfinite(number) for number in numbers)
        or not all(type(number) is int and 0 <= number < 2**63 for number in whole)
        or not all(isinstance(text, str) for text in texts)
        or not isinstance(record["md5"], dict)
    ):
        raise ValueError("not complete")


def _device(kind: str, threads: int) -> torch.device:
    """The device of that kind, or the CPU where there is none."""
    try:
        return choose_device(kind, threads)
    except UserError:
        return choose_device("cpu", threads)


def compare(record: dict[str, Any], again: dict[str, Any]) -> tuple[str, str]:
    """Return "bitwise", "within tolerance" or "different", and the reason. again: the record of the repeated run."""
    same_weights = record["weights"] == again["weights"]
    if same_weights and _results(record, again) == _results(again, record):
        return "bitwise", "equal weights, scores and history"
    loss, errors, test_errors = relative_differences(record, again)
    reason = f"the first epoch's train loss differs by {loss:.3%}, its errors by {errors:.3%}, test errors by "
    reason += f"{test_errors:.0%}"
    if same_weights:
        return "different", f"the weights are bitwise equal, but the record's numbers are not theirs; {reason}"
    max_loss, max_errors = FIRST_EPOCH_TOLERANCE[record["settings"]["precision"]]
    close = loss <= max_loss and errors <= max_errors and test_errors <= TEST_ERROR_TOLERANCE
    return "within tolerance" if close else "different", reason


def relative_differences(record: dict[str, Any], again: dict[str, Any]) -> tuple[float, float, float]:
    """Differences of the first epoch's train loss and train error rate, and of the test error rate, as fractions."""
    first, other = record["history"][0], again["history"][0]
    wrong = [1 - each["scores"]["accuracy"] + EXTRA_ERRORS / each["scores"]["count"] for each in (record, again)]
    return (
        _relative_difference(first["train_loss"], other["train_loss"]),
        _relative_difference(1 - first["train_accuracy"], 1 - other["train_accuracy"]),
        _relative_difference(*wrong),
    )


def _relative_difference(one: float, other: float) -> float:
    """The difference as a fraction of the smaller number."""
    if one == other:
        return 0.0
    return abs(one - other) / min(one, other) if min(one, other) > 0 else math.inf


def _results(record: dict[str, Any], other: dict[str, Any]) -> tuple[Any, ...]:
    """What equal weights imply: the scores that both records have, and the history without the seconds."""
    scores = {field: value for field, value in record["scores"].items() if field in other["scores"]}
    return scores, [{field: value for field, value in row.items() if field != "seconds"} for row in record["history"]]


def provenance_differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Fields of the provenance that differ, as text; then uncommitted changes, then fields not recorded then."""
    lines = [
        f"{name}: {_short(field, then[field])} then, {_short(field, now.get(field))} now"
        for field, name in PROVENANCE_FIELDS.items()
        if field in then and then[field] != now.get(field)
    ]
    states = {"then": then, "now": now}
    lines += [f"{when}: uncommitted changes of the package" for when, state in states.items() if state.get("changed")]
    absent = [name for field, name in PROVENANCE_FIELDS.items() if field not in then]
    return lines + ([f"not recorded then: {', '.join(absent)}"] if absent else [])


def _short(field: str, value: Any) -> str:
    return value[:7] if field == "commit" and isinstance(value, str) else str(value)


def table(record: dict[str, Any], again: dict[str, Any]) -> str:
    """The recorded numbers beside those of the repeated run, as text."""
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
