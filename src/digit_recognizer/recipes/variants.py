"""What other choices would have given, where a source leaves one open: published recipes with one thing changed."""

import dataclasses
from typing import Any

from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.recipes.recipe import Published, Recipe

_BY_NAME = {recipe.name: recipe for recipe in PUBLISHED}


def _variant(of: str, name: str, what: str, **changes: Any) -> Recipe:
    """A published recipe with one thing changed; nothing is published of it."""
    recipe = dataclasses.replace(_BY_NAME[of], published=Published(), departures=(), **changes)
    return dataclasses.replace(recipe, name=name, source=f"variant of {recipe.project}, {what}")


VARIANTS = (
    _variant(
        "mlp_512_256_adam_5ep", "mlp_512_256_adam_5ep_half",
        "normalised by 0.5 and 0.5", mean=0.5, deviation=0.5,
    ),
    _variant(
        "mlp_128_64_sgd_15ep", "mlp_128_64_sgd_15ep_plain",
        "without momentum, on MNIST", momentum=0.0, dataset="mnist",
    ),
    _variant(
        "mlp_128_64_adam_10ep", "mlp_128_64_adam_10ep_log_softmax",
        "log-softmax before cross-entropy", output="log_softmax",
    ),
    _variant(
        "mlp_128_64_adam_10ep", "mlp_128_64_adam_10ep_softmax",
        "softmax before cross-entropy", output="softmax",
    ),
    _variant("mlp_128_adam", "mlp_128_adam_batch_128", "batches of 128", batch_size=128),
    _variant("mlp_128_adam", "mlp_128_adam_20ep", "20 epochs", epochs=20),
)  # fmt: skip
