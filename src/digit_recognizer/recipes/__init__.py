"""All recipes by name.

recipe       what a training run is: Recipe, Convolution, Augmentation
published    the trainings of the five published projects, and ablations of them
ours         our recipes
page_reader  the recipe of the network that finds digits on pages
spreads      the spread of their numbers over the seeds in results/
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from digit_recognizer.recipes import page_reader
from digit_recognizer.recipes.ours import OURS
from digit_recognizer.recipes.published import ABLATIONS, PUBLISHED
from digit_recognizer.recipes.recipe import Recipe, from_plain_types
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import columns

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*PUBLISHED, *OURS, *ABLATIONS)}
DEFAULT = "mlp_512_256_adam_5ep"


def get(name: str = DEFAULT, **overrides: Any) -> Recipe:
    """The recipe of that name, with the given fields replaced; a field given as None stays the recipe's own.

    Raises UserError for an unknown name, naming the nearest, and for values that cannot be trained with.
    """
    if name == page_reader.NAME:
        raise UserError(f"{name} is not a network of single digits; train it with: digits train --recipe {name}")
    if name not in RECIPES:
        raise UserError(f"unknown recipe '{name}'; the nearest is {_nearest(name)}, and digits train --list shows all")
    return dataclasses.replace(RECIPES[name], **{key: value for key, value in overrides.items() if value is not None})


def _nearest(name: str) -> str:
    """The first recipe whose name starts with what was typed, else contains it, else is most similar."""
    typed = name.lower()
    starting = [known for known in RECIPES if known.startswith(typed)]
    containing = [known for known in RECIPES if typed in known]
    return (starting or containing or difflib.get_close_matches(typed, RECIPES, n=1, cutoff=0.0))[0]


def of_settings(name: str, settings: Mapping[str, Any]) -> Recipe:
    """The recipe of that name with these settings, all of them, as Recipe.settings returns them.

    Raises UserError as `get` does; and KeyError, TypeError or ValueError for invalid settings.
    """
    return get(name, **from_plain_types(settings))


def overrides_of(recipe: Recipe) -> dict[str, Any]:
    """The fields in which a recipe differs from the published one of its name."""
    original = RECIPES[recipe.name]
    fields = (field.name for field in dataclasses.fields(recipe))
    return {field: getattr(recipe, field) for field in fields if getattr(recipe, field) != getattr(original, field)}


def table() -> str:
    """All recipes as text, one a line, for --list."""
    rows = [("recipe", "network", "parameters", "data set", "published", "source")]
    for recipe in RECIPES.values():
        size, source = f"{recipe.parameter_count:,}", recipe.source.split(" (")[0]
        rows.append((recipe.name, recipe.network, size, recipe.dataset, _published(recipe), source))
    return f"{columns(rows)}\n{page_reader.NAME}: finds digits on pages; digits train --recipe {page_reader.NAME}"


def _published(recipe: Recipe) -> str:
    """The published numbers in a few words."""
    parts = []
    for field, value in dataclasses.asdict(recipe.published).items():
        if value is not None:
            name, unit = field.rsplit("_", 1)
            parts.append(f"{name} {value:.2%}" if unit == "accuracy" else f"{name} loss {value:.4f}")
    return ", ".join(parts) or "no number"
