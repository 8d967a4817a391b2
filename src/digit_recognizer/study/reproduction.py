"""Published numbers against the spread of seeds, and what other choices give where a source leaves one unspecified."""

import dataclasses
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from digit_recognizer.data import TITLES
from digit_recognizer.recipes import RECIPES
from digit_recognizer.recipes.ours import OURS
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.recipes.spreads import Spread
from digit_recognizer.study import record_store

COVERAGE = 0.95  # of the prediction interval
# By the subject of an unspecified detail: the published recipe, and its ablations with how each differs.
ABLATIONS_OF: dict[str, tuple[str, dict[str, str]]] = {
    "Normalisation": ("mlp_512_256_adam_5ep", {"mlp_512_256_adam_5ep_half": "normalised by 0.5 and 0.5"}),
    "Momentum": ("mlp_128_64_sgd_15ep", {"mlp_128_64_sgd_15ep_plain": "without momentum"}),
    "Output": ("mlp_128_64_adam_10ep", {
        "mlp_128_64_adam_10ep_log_softmax": "with log-softmax",
        "mlp_128_64_adam_10ep_softmax": "with a real softmax, whose loss cannot get below ln(1 + 9/e) = 1.461",
    }),
    "Batch size": ("mlp_128_adam", {"mlp_128_adam_batch_128": "with batches of 128"}),
}  # fmt: skip
# The recipe whose source trains for "multiple" epochs, and the ablation that trains for more.
FEW_EPOCHS, MANY_EPOCHS = "mlp_128_adam", "mlp_128_adam_20ep"


@dataclass(frozen=True)
class PublishedResult:
    """A number of a source beside that of each seed. Accuracies are fractions, losses nats per digit."""

    recipe: Recipe
    dataset: str
    quantity: str  # such as "test accuracy"
    published: float | None  # None where the source does not state it
    values: list[float]  # of the seeds, two or more

    @property
    def comparable(self) -> bool:
        """Whether there is a published number, and of this data set."""
        return self.published is not None and self.dataset.startswith(self.recipe.dataset)

    @property
    def scale(self) -> float:
        """Standard deviation of the difference between one more seed and the mean of these."""
        return statistics.stdev(self.values) * math.sqrt(1 + 1 / len(self.values))

    @property
    def interval(self) -> tuple[float, float]:
        """Prediction interval (Student's t): one more seed lies in it with 95 % probability."""
        half = self.scale * float(stats.t.ppf((1 + COVERAGE) / 2, len(self.values) - 1))
        mean = statistics.mean(self.values)
        return mean - half, mean + half

    @property
    def percentile(self) -> float:
        """Percentage of further seeds that would lie below the published number."""
        if self.published is None:
            raise ValueError("there is no published number to compare with")
        distance = self.published - statistics.mean(self.values)
        if not self.scale:  # all seeds are equal
            return 50.0 + math.copysign(50.0, distance) * (distance != 0)
        return 100 * float(stats.t.cdf(distance / self.scale, len(self.values) - 1))

    @property
    def conclusion(self) -> str:
        """Where the published number lies, in words."""
        if self.published is None:
            return "not stated by the source"
        if not self.comparable:
            return f"of {TITLES[self.recipe.dataset]}: not comparable"
        low, high = self.interval
        if low <= self.published <= high:
            return "inside the spread of seeds"
        distance = low - self.published if self.published < low else self.published - high
        size = f"{distance:.4f}" if self.quantity.endswith("loss") else f"{100 * distance:.2f} points"
        return f"outside: {size} {'below' if self.published < low else 'above'}"


def published_results(out: str | Path) -> list[PublishedResult]:
    """Every published number of the five projects, and the test accuracy where none is published, from the records.

    On the recipe's data set and on those that stand in for it, where there are records of two seeds or more.
    """
    results = []
    for recipe in PUBLISHED:
        for dataset in dict.fromkeys((recipe.dataset, "qmnist-writers", "mnist")):
            found = record_store.read_all(out, recipe, dataset)
            if len(found) > 1:
                results += _results_of(recipe, dataset, found)
    return results


def _results_of(recipe: Recipe, dataset: str, found: list[dict[str, Any]]) -> list[PublishedResult]:
    """In the sources' definitions: training metrics are running values, the test loss is a mean of batch means."""
    last = [record["history"][-1] for record in found]
    values = {
        "train_loss": [metrics["train_loss"] for metrics in last],
        "train_accuracy": [metrics["train_accuracy"] for metrics in last],
        "validation_accuracy": [metrics["held_out_accuracy"] for metrics in last],
        "test_loss": [record["scores"]["mean_of_batch_means"] for record in found],
        "test_accuracy": [record["scores"]["accuracy"] for record in found],
    }
    published = dataclasses.asdict(recipe.published)
    return [
        PublishedResult(recipe, dataset, field.replace("_", " "), published[field], of_seeds)
        for field, of_seeds in values.items()
        if published[field] is not None or field == "test_accuracy"
    ]


def spreads(out: str | Path) -> dict[str, dict[str, Spread]]:
    """The content of recipes.spreads, from the records: of published recipes and ours, on their own data set."""
    found = {recipe: record_store.read_all(out, recipe) for recipe in (*PUBLISHED, *OURS)}
    return {recipe.name: _spreads_of(recipe, records) for recipe, records in found.items() if len(records) > 1}


def _spreads_of(recipe: Recipe, found: list[dict[str, Any]]) -> dict[str, Spread]:
    spreads = {}
    for result in _results_of(recipe, recipe.dataset, found):
        if result.quantity == "test loss":  # in our definition, as a run reports it: the mean over all digits
            result = dataclasses.replace(result, values=[record["scores"]["loss"] for record in found])
        mean, std, (low, high) = statistics.mean(result.values), statistics.stdev(result.values), result.interval
        numbers = [round(number, 6) for number in (mean, std, low, high)]
        spreads[result.quantity.replace(" ", "_")] = Spread(numbers[0], numbers[1], len(found), *numbers[2:])
    return spreads


def accuracy_rows(out: str | Path) -> list[dict[str, Any]]:
    """The rows of plots.published_results: test accuracies of each recipe on each data set."""
    return [
        {
            "label": f"{result.recipe.project}\n{result.recipe.network}, {result.recipe.epochs} epochs\n"
            f"{TITLES[result.dataset]}, n = {len(result.values)}",
            "accuracies": result.values,
            "published": result.published if result.comparable else None,
            "interval": result.interval,
            "conclusion": result.conclusion,
        }
        for result in published_results(out)
        if result.quantity == "test accuracy"
    ]


def unspecified_details(out: str | Path) -> str:
    """All unspecified details as a numbered list in Markdown, with what was measured about each."""
    projects: dict[str, dict[str, None]] = {}
    for recipe in PUBLISHED:
        for detail in recipe.unspecified_details:
            projects.setdefault(detail, {})[recipe.project] = None  # once, in order
    lines: list[str] = []
    measured: set[str] = set()
    for number, (detail, names) in enumerate(projects.items(), start=1):
        subject, _, text = detail.partition(": ")
        measurement = "" if subject in measured else _measurement(subject, out)
        measured.add(subject)
        lines.append(f"{number}. **{subject}** ({', '.join(names)}): {text}{measurement}")
    return "\n".join(lines)


def _measurement(subject: str, out: str | Path) -> str:
    """One or two sentences from the records; empty where nothing was measured."""
    if subject in ABLATIONS_OF:
        base, ablations = ABLATIONS_OF[subject]
        named = {base: f"{RECIPES[base].project} as run here"} | ablations
        cells = [f"{how}: {accuracy}" for name, how in named.items() if (accuracy := _accuracy(out, name))]
        return f" Test accuracy on MNIST, {'; '.join(cells)}." if cells else ""
    others = {"Losses": _losses, "Reported epoch": _best_epochs, "Epochs": _epochs}
    return others[subject](out) if subject in others else ""


def _on_mnist(out: str | Path, name: str) -> list[dict[str, Any]]:
    return record_store.read_all(out, RECIPES[name], "mnist")


def _accuracy(out: str | Path, name: str) -> str:
    """Mean, standard deviation and n as text; empty for fewer than two seeds."""
    values = [record["scores"]["accuracy"] for record in _on_mnist(out, name)]
    if len(values) < 2:
        return ""
    return f"{statistics.mean(values):.2%} ± {statistics.stdev(values):.2%} (n = {len(values)})"


def _losses(out: str | Path) -> str:
    scores = [record["scores"] for record in _on_mnist(out, "mlp_512_256_adam_5ep")]
    if not scores:
        return ""
    ours, theirs = (statistics.mean(each[field] for each in scores) for field in ("loss", "mean_of_batch_means"))
    return f" {theirs:.4f} in its definition is {ours:.4f} in ours (n = {len(scores)})."


def best_minus_last(out: str | Path, name: str) -> list[float]:
    """Test accuracy of the best epoch minus that of the last, of each seed, as fractions."""
    histories = [record["history"] for record in _on_mnist(out, name)]
    accuracies = [[each["held_out_accuracy"] for each in rows] for rows in histories if rows[0]["held_out"] == "test"]
    return [max(of_seed) - of_seed[-1] for of_seed in accuracies]


def _best_epochs(out: str | Path) -> str:
    cells = []
    for recipe in PUBLISHED:
        if gains := [100 * gain for gain in best_minus_last(out, recipe.name)]:
            spread = f"(at most {max(gains):.2f}, n = {len(gains)})"
            cells.append(f"`{recipe.name}` {statistics.mean(gains):.2f} points {spread}")
    return f" The epoch with the best test accuracy would give more: {', '.join(cells)}." if cells else ""


def accuracies_by_epoch(out: str | Path) -> list[list[float]]:
    """Test accuracies of all seeds of MANY_EPOCHS, as fractions, a list per epoch."""
    histories = [record["history"] for record in _on_mnist(out, MANY_EPOCHS)]
    return [[metrics["held_out_accuracy"] for metrics in epoch] for epoch in zip(*histories, strict=True)]


def _epochs(out: str | Path) -> str:
    if not (epochs := accuracies_by_epoch(out)):
        return ""
    means = [statistics.mean(accuracies) for accuracies in epochs]
    about = [str(epoch) for epoch, mean in enumerate(means, start=1) if round(100 * mean) == 97] or ["none"]
    highest = max(range(len(means)), key=means.__getitem__)
    best = "" if highest == len(means) - 1 else f"highest after {highest + 1} with {means[highest]:.2%}, "
    return (
        f" The mean of {len(epochs[0])} seeds rounds to 97 % after {', '.join(about)} of {len(epochs)} epochs; it is "
        f"{means[0]:.2%} after the first, {best}and {means[-1]:.2%} at the end."
    )
