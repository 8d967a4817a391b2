"""Is a published number true? What the seeds of the same training say about it."""

import dataclasses
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from digit_recognizer.data import TITLES
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.study import record_store

COVERAGE = 0.95  # of the prediction interval


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
