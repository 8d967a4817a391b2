"""What the sources leave open, what we chose, and what another choice would have given, from records."""

import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path

from digit_recognizer.recipes import RECIPES
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.study import record_store

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


def page(out: str | Path) -> str:
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
