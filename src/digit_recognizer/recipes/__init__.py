"""All recipes by name: what the published projects trained, our ladder from there, and variants of the published."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from digit_recognizer.recipes.ours import OURS
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.recipes.recipe import Recipe, typed
from digit_recognizer.recipes.variants import VARIANTS
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import columns

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*PUBLISHED, *OURS, *VARIANTS)}
DEFAULT = "mlp_512_256_adam_5ep"


def get(name: str = DEFAULT, **overrides: Any) -> Recipe:
    """The recipe of that name, with the given fields replaced; a field given as None stays the recipe's own.

    Raises UserError for an unknown name, naming the nearest, and for values that cannot be trained with.
    """
    if name not in RECIPES:
        nearest = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.0)[0]
        raise UserError(f"unknown recipe '{name}'; the nearest is {nearest}, and mnist_recognition.py --list shows all")
    return dataclasses.replace(RECIPES[name], **{key: value for key, value in overrides.items() if value is not None})


def of_settings(name: str, settings: Mapping[str, Any]) -> Recipe:
    """The recipe of that name with these settings, all of them, as Recipe.settings gives them and JSON keeps them.

    Raises UserError as get does; and KeyError, TypeError or ValueError for what are no settings.
    """
    return get(name, **typed(settings))


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
    return columns(rows)


def _published(recipe: Recipe) -> str:
    """The published numbers in a few words."""
    parts = []
    for field, value in dataclasses.asdict(recipe.published).items():
        if value is not None:
            name, unit = field.rsplit("_", 1)
            parts.append(f"{name} {value:.2%}" if unit == "accuracy" else f"{name} loss {value:.4f}")
    return ", ".join(parts) or "no number"
