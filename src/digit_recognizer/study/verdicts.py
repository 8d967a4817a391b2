"""Two records of the same run: identical, within rounding or different, and what may be the reason."""

import math
from typing import Any

# By the precision of a recipe's products: how far rounding may lead the first epoch's train loss, and its errors.
FIRST_EPOCH_APART = {"float32": (0.005, 0.01), "bfloat16": (0.01, 0.02)}
TEST_ERRORS_APART = 0.6  # as far as seeds lie apart, which rounding reaches after some epochs
FEW = 5  # test errors, added to both, so that one of three more is not a third more

EXPLAINED = """\
identical        the same weights to the bit, by their hash, the same scores, and the same history but for the seconds
within rounding  of the first epoch the train loss at most 0.5% apart and the errors 1%, or, where the recipe computes
                 its products in bfloat16, 1% and 2%; and the test errors at most 60%
different        anything else; exit status 1, that of the others is 0, and of a mistake 2

The same versions on the same kind of machine give the same weights to the bit. Other kernels, other instructions or
another number of threads may add up in another order; from the first sum that rounds otherwise the weights drift
apart, after some epochs as far as those of two seeds. So the first epoch decides, as well as it can. Measured on MNIST,
with PyTorch's other kernels, AVX2 instead of AVX-512, or the first weights changed by a ten-millionth: at most 0.36%
and 0.64% apart in float32 (n = 50, 7 recipes), 0.65% and 1.5% in bfloat16 (n = 14, 4 recipes). Two seeds of one recipe
in results/ lie as near in 191 of 1855 pairs in float32, but in 96 of 228 in bfloat16: there, rounding in one epoch is
almost as far as another seed, and only identical proves much.
"""

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
