"""Is a published number true? What the seeds of the same training say about it."""

import dataclasses
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from digit_recognizer.data import TITLES
from digit_recognizer.recipes import RECIPES
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.study import record_store

COVERAGE = 0.95  # of the prediction interval
# Which variants answer a departure, by what it is about: the recipe that they vary, and how each differs from it.
VARIED: dict[str, tuple[str, dict[str, str]]] = {
    "Normalisation": ("mlp_512_256_adam_5ep", {"mlp_512_256_adam_5ep_half": "normalised by 0.5 and 0.5"}),
    "Momentum": ("mlp_128_64_sgd_15ep", {"mlp_128_64_sgd_15ep_plain": "without momentum"}),
    "Output": (
        "mlp_128_64_adam_10ep",
        {
            "mlp_128_64_adam_10ep_log_softmax": "with log-softmax",
            "mlp_128_64_adam_10ep_softmax": "with a real softmax, whose loss cannot get below ln(1 + 9/e) = 1.461",
        },
    ),
    "Batch size": ("mlp_128_adam", {"mlp_128_adam_batch_128": "with batches of 128"}),
}
CURVE_OF, CURVE = "mlp_128_adam", "mlp_128_adam_20ep"  # whose epochs show what "multiple" may have been


@dataclass(frozen=True)
class Answer:
    """One number of a source beside that of each seed. Accuracies are fractions, losses nats per digit."""

    recipe: Recipe
    dataset: str
    number: str  # such as "test accuracy"
    published: float | None  # None where the source does not say
    values: list[float]  # of the seeds, two or more

    @property
    def comparable(self) -> bool:
        """Whether there is a published number, of this data set."""
        return self.published is not None and self.dataset.startswith(self.recipe.dataset)

    @property
    def scale(self) -> float:
        """The standard deviation of one more seed's value about the mean of these."""
        return statistics.stdev(self.values) * math.sqrt(1 + 1 / len(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """In which one more seed would lie with 95 % probability, by Student's t: a prediction interval."""
        half = self.scale * float(stats.t.ppf((1 + COVERAGE) / 2, len(self.values) - 1))
        mean = statistics.mean(self.values)
        return mean - half, mean + half

    @property
    def percentile(self) -> float:
        """The share of further seeds, in percent, that would lie below the published number."""
        if self.published is None:
            raise ValueError("nothing is published to compare with")
        distance = self.published - statistics.mean(self.values)
        if not self.scale:  # all seeds agree
            return 50.0 + math.copysign(50.0, distance) * (distance != 0)
        distance /= self.scale
        return 100 * float(stats.t.cdf(distance, len(self.values) - 1))

    @property
    def verdict(self) -> str:
        """In plain words."""
        if self.published is None:
            return "not stated by the source"
        if not self.comparable:
            return f"of {TITLES[self.recipe.dataset]}: not comparable"
        low, high = self.interval
        if low <= self.published <= high:
            return "inside the spread of seeds"
        off = low - self.published if self.published < low else self.published - high
        size = f"{off:.4f}" if self.number.endswith("loss") else f"{100 * off:.2f} points"
        return f"outside: {size} {'below' if self.published < low else 'above'}"


def all_answers(out: str | Path) -> list[Answer]:
    """An answer to every number that the five projects publish, and to the test accuracy where they publish none.

    Of the records under a folder, on the recipe's data set and on those that stand in for it; those of fewer than two
    seeds say nothing.
    """
    found = []
    for recipe in PUBLISHED:
        for dataset in dict.fromkeys((recipe.dataset, "qmnist-writers", "mnist")):
            record = record_store.read_all(out, dataclasses.replace(recipe, dataset=dataset))
            if len(record) > 1:
                found += _answers(recipe, dataset, record)
    return found


def _answers(recipe: Recipe, dataset: str, found: list[dict[str, Any]]) -> list[Answer]:
    """In the definitions of the notebook of 002: running values of the last epoch, and means of batch means."""
    last = [record["history"][-1] for record in found]
    values = {
        "train_loss": [row["train_loss"] for row in last],
        "train_accuracy": [row["train_accuracy"] for row in last],
        "validation_accuracy": [row["held_out_accuracy"] for row in last],
        "test_loss": [record["scores"]["mean_of_batch_means"] for record in found],
        "test_accuracy": [record["scores"]["accuracy"] for record in found],
    }
    published = dataclasses.asdict(recipe.published)
    return [
        Answer(recipe, dataset, field.replace("_", " "), published[field], of)
        for field, of in values.items()
        if published[field] is not None or field == "test_accuracy"
    ]


def strips(out: str | Path) -> list[dict[str, Any]]:
    """What charts.published_results draws: the test accuracies of each recipe on each data set."""
    return [
        {
            "label": f"{answer.recipe.project}: {answer.recipe.network}, {answer.recipe.epochs} epochs\n"
            f"{TITLES[answer.dataset]}, n = {len(answer.values)}",
            "accuracies": answer.values,
            "published": answer.published if answer.comparable else None,
            "interval": answer.interval,
            "verdict": answer.verdict,
        }
        for answer in all_answers(out)
        if answer.number == "test accuracy"
    ]


def departures(out: str | Path) -> str:
    """All departures as a numbered list in Markdown, each with what was measured of it, where it was."""
    sources: dict[str, list[str]] = {}
    for recipe in PUBLISHED:
        for departure in recipe.unspecified_details:
            of = sources.setdefault(departure, [])
            of += [recipe.project] if recipe.project not in of else []
    lines: list[str] = []
    answered: set[str] = set()
    for number, (departure, of) in enumerate(sources.items(), start=1):
        subject, _, words = departure.partition(": ")
        measured = "" if subject in answered else _measured(subject, out)
        answered.add(subject)
        lines.append(f"{number}. **{subject}** ({', '.join(of)}): {words}{measured}")
    return "\n".join(lines)


def _measured(subject: str, out: str | Path) -> str:
    """A sentence or two from the records; empty where nothing was measured."""
    if subject in VARIED:
        base, variants = VARIED[subject]
        named = {base: f"{RECIPES[base].project} as we run it"} | variants
        cells = [f"{how}: {accuracy}" for name, how in named.items() if (accuracy := _accuracy(out, name))]
        return f" Test accuracy on MNIST, {'; '.join(cells)}." if cells else ""
    special: dict[str, Callable[[str | Path], str]] = {
        "Losses": _losses, "Reported epoch": _best_epochs, "Epochs": _epochs
    }  # fmt: skip
    return special[subject](out) if subject in special else ""


def _on_mnist(out: str | Path, name: str) -> list[dict]:
    return record_store.read_all(out, dataclasses.replace(RECIPES[name], dataset="mnist"))


def _accuracy(out: str | Path, name: str) -> str:
    """Mean, standard deviation and n; empty where there are fewer than two seeds."""
    values = [record["scores"]["accuracy"] for record in _on_mnist(out, name)]
    if len(values) < 2:
        return ""
    return f"{statistics.mean(values):.2%} ± {statistics.stdev(values):.2%} (n = {len(values)})"


def _losses(out: str | Path) -> str:
    found = [record["scores"] for record in _on_mnist(out, "mlp_512_256_adam_5ep")]
    if not found:
        return ""
    ours, theirs = ([scores[field] for scores in found] for field in ("loss", "mean_of_batch_means"))
    return (
        f" {statistics.mean(theirs):.4f} in its definition is {statistics.mean(ours):.4f} in ours (n = {len(found)})."
    )


def best_minus_last(out: str | Path, name: str) -> list[float]:
    """By how much each seed's best test epoch is better than its last, as fractions."""
    histories = [record["history"] for record in _on_mnist(out, name)]
    histories = [rows for rows in histories if rows[0]["held_out"] == "test"]
    return [max(row["held_out_accuracy"] for row in rows) - rows[-1]["held_out_accuracy"] for rows in histories]


def _best_epochs(out: str | Path) -> str:
    cells = []
    for recipe in PUBLISHED:
        gains = [100 * gain for gain in best_minus_last(out, recipe.name)]
        if gains:
            mean, most, count = statistics.mean(gains), max(gains), len(gains)
            cells.append(f"`{recipe.name}` by {mean:.2f} points (at most {most:.2f}, n = {count})")
    return f" To report the epoch with the best test accuracy instead flatters {', '.join(cells)}." if cells else ""


def curve(out: str | Path) -> list[list[float]]:
    """Of each epoch of CURVE, the test accuracy of each seed, as fractions."""
    histories = [record["history"] for record in _on_mnist(out, CURVE)]
    return [[row["held_out_accuracy"] for row in rows] for rows in zip(*histories, strict=True)]


def _epochs(out: str | Path) -> str:
    epochs = curve(out)
    if not epochs:
        return ""
    means = [statistics.mean(accuracies) for accuracies in epochs]
    about = [str(epoch) for epoch, mean in enumerate(means, start=1) if round(100 * mean) == 97] or ["none"]
    highest = max(range(len(means)), key=means.__getitem__)
    best = "" if highest == len(means) - 1 else f"highest after {highest + 1} with {means[highest]:.2%}, "
    return (
        f" The mean of {len(epochs[0])} seeds rounds to 97 % after {', '.join(about)} of {len(epochs)} epochs; it is "
        f"{means[0]:.2%} after the first, {best}and "
        f"{means[-1]:.2%} at the end."
    )
