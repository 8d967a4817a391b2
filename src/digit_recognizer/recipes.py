"""What is trained: the five published projects and what they wished for, each as a frozen record with its source.

A recipe is data without branches. Where its source is silent, what we chose stands under `departures`.
"""

import dataclasses
import difflib
from typing import Any

from digit_recognizer.errors import UserError
from digit_recognizer.recipe import Published, Recipe

_SEED_SILENT = "Seed: not stated; ours is --seed, 0 by default."
_NORMALISATION_SILENT = "Normalisation: not stated; ours is MNIST's mean 0.1307 and deviation 0.3081."

_ALL = (
    Recipe(
        name="mlp_512_256_adam_5ep",
        source="002, MNIST Recognition Project (its README; its notebook for what the README leaves out)",
        widths=(784, 512, 256, 10),
        epochs=5,
        published=Published(train_loss=0.0370, train_accuracy=0.9881, test_loss=0.0732, test_accuracy=0.9787),
        departures=(
            "Random numbers: its notebook draws weights and batches from one global generator seeded with 42, on a "
            "GPU; ours draws each from a generator of its own, seeded with --seed.",
            "Losses: its notebook averages batch means; ours divide the sum over all digits by their count.",
        ),
    ),
    Recipe(
        name="mlp_128_64_adam_10ep",
        source="000, MNIST Digit Recognition with a tkinter window (its README)",
        widths=(784, 128, 64, 10),
        epochs=10,
        departures=(_NORMALISATION_SILENT, _SEED_SILENT, "Accuracy: not stated, only plotted."),
    ),
    Recipe(
        name="mlp_128_64_sgd_15ep",
        source="001, MNIST Digit Classification with PyTorch (its README)",
        widths=(784, 128, 64, 10),
        epochs=15,
        batch_size=32,
        optimizer="sgd",
        momentum=0.9,
        dataset="qmnist",
        validation=True,
        published=Published(train_accuracy=0.97, validation_accuracy=0.9715, test_accuracy=0.9700),
        departures=(
            "Momentum: used, but not stated; ours is 0.9.",
            "Split: train, validation and test, fractions not stated; ours is 80, 10 and 10 % of the 120,000, "
            "at random, which mixes writers as its own must have (data.load can also keep writers apart).",
            _NORMALISATION_SILENT,
            _SEED_SILENT,
        ),
    ),
    Recipe(
        name="mlp_128_64_adam_200ep",
        source="003, Handwritten Digit Recognition with MNIST (as its README describes it)",
        widths=(784, 128, 64, 10),
        epochs=200,
        mean=0.5,
        deviation=0.5,
        log_softmax=True,
        published=Published(test_accuracy=0.9803),
        departures=(
            "Network: the README's; its published number belongs to the network of its code, the next recipe.",
            "Normalisation: not in the README; 0.5 and 0.5 as in its code.",
            _SEED_SILENT,
        ),
    ),
    Recipe(
        name="mlp_128_64_32_adam_200ep",
        source="003, Handwritten Digit Recognition with MNIST (as its code and its weights are)",
        widths=(784, 128, 64, 32, 10),
        epochs=200,
        mean=0.5,
        deviation=0.5,
        log_softmax=True,
        published=Published(test_accuracy=0.9803),
        departures=(_SEED_SILENT,),
    ),
    Recipe(
        name="mlp_128_adam",
        source="004, MNIST Handwritten Digit Classifier (its README)",
        widths=(784, 128, 10),
        epochs=5,
        published=Published(test_accuracy=0.97),
        departures=(
            "Epochs: 'multiple', not stated; ours are 5.",
            "Batch size: not stated; ours is 64.",
            "Accuracy: 'approximately 97 %'.",
            _NORMALISATION_SILENT,
            _SEED_SILENT,
        ),
    ),
)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
DEFAULT = "mlp_512_256_adam_5ep"


def get(name: str = DEFAULT, **overrides: Any) -> Recipe:
    """The recipe of that name, with the given fields replaced; a field given as None stays the recipe's own.

    Raises UserError for an unknown name, naming the nearest, and for values that cannot be trained with.
    """
    if name not in RECIPES:
        nearest = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.0)[0]
        raise UserError(f"unknown recipe '{name}'; the nearest is {nearest}, and --list shows all")
    return dataclasses.replace(RECIPES[name], **{key: value for key, value in overrides.items() if value is not None})


def overrides_of(recipe: Recipe) -> dict[str, Any]:
    """The fields in which a recipe differs from the published one of its name."""
    original = RECIPES[recipe.name]
    fields = (field.name for field in dataclasses.fields(recipe))
    return {field: getattr(recipe, field) for field in fields if getattr(recipe, field) != getattr(original, field)}


def table() -> str:
    """All recipes as text, one a line, for --list."""
    rows = [("recipe", "network", "parameters", "data set", "published", "source")]
    for recipe in RECIPES.values():
        source = recipe.source.split(" (")[0]
        size = f"{recipe.parameter_count:,}"
        rows.append((recipe.name, recipe.network, size, recipe.dataset, _published(recipe), source))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _published(recipe: Recipe) -> str:
    """The published numbers in a few words."""
    parts = []
    for field, value in dataclasses.asdict(recipe.published).items():
        if value is not None:
            name, unit = field.rsplit("_", 1)
            parts.append(f"{name} {value:.2%}" if unit == "accuracy" else f"{name} loss {value:.4f}")
    return ", ".join(parts) or "no number"
