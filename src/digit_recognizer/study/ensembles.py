"""What several seeds of a recipe say together: the mean of their probabilities, always of the first n."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digit_recognizer import evaluation, models, records
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime import provenance
from digit_recognizer.study import record_store, run

SIZES = (1, 3, 5, 10)  # how many seeds together are reported


def update(out: str | Path, recipe: Recipe, data_dir: str | Path | None) -> None:
    """Write what the first seeds say together, unless that stands there, or more, or probabilities are missing."""
    paths = [record_store.path_of(out, recipe, seed) for seed in range(max(SIZES))]
    paths = list(itertools.takewhile(lambda path: path.exists() and path.with_suffix(".npy").exists(), paths))
    weights = [record_store.read(out, recipe, seed)["weights"] for seed in range(len(paths))]
    target = record_store.path_of(out, recipe, "ensemble")
    try:
        stands = json.loads(target.read_text())["weights"]
    except (OSError, ValueError, LookupError, TypeError):
        stands = []
    if len(paths) >= SIZES[1] and stands[: len(weights)] != weights:
        digits = run.digits_of(recipe.dataset, data_dir, recipe.validation)
        probabilities = [np.load(path.with_suffix(".npy")) for path in paths]
        record = together(recipe, weights, probabilities, digits.test.labels)
        made_with = provenance.collect(models.build(recipe))
        records.save(target, {**record, "md5": dict(digits.md5), "made_with": made_with})


def together(recipe: Recipe, weights: list[str], probabilities: list[np.ndarray], labels: Tensor) -> dict[str, Any]:
    """Scores of the mean of the probabilities of the first n seeds, for each n that there is; no seed is chosen.

    probabilities: float32 (n, 10) of each seed; labels: int64 (n,) of the test part. weights: each one's hash.
    """
    members = torch.from_numpy(np.stack(probabilities))
    tiny = torch.finfo(members.dtype).tiny  # float32 rounds what is less likely to nought, whose logarithm is infinite
    means = {size: members[:size].mean(0).clamp(min=tiny) for size in SIZES if size <= len(members)}
    scores = {size: evaluation.score(mean.log(), labels) for size, mean in means.items()}
    return {
        "recipe": recipe.name,
        "dataset": recipe.dataset,
        "weights": weights,
        "scores": {str(size): records.scores_as_dict(each) for size, each in scores.items()},
    }
