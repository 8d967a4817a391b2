"""One run of a recipe, from fresh weights to its record, and what is kept of it while it is under way."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from digit_recognizer import checkpoints, data, evaluation, models, records, training
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.recognition import calibration
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import record_store

# A recipe, on its own data set, a seed, the data's folder, and where the run is kept while it is under way.
Job = tuple[Recipe, int, str | Path | None, Path | None]
Result = tuple[Recipe, int, dict[str, Any], np.ndarray]  # recipe, seed, the record, and probabilities, float32 (n, 10)


def progress_of(out: str | Path, recipe: Recipe, seed: int) -> Path:
    """Where a run is kept while it is under way: by a name that the main command does not use."""
    return record_store.path_of(out, recipe, seed).with_suffix(".stopped.pth")


@functools.cache
def digits_of(name: str, data_dir: str | Path | None, validation: bool) -> data.Digits:
    """A data set, loaded once for all runs of a process."""
    return data.load(name, data_dir, validation=validation)


def train_alone(recipe: Recipe, seed: int, data_dir: str | Path | None, progress: Path | None = None) -> Result:
    """One run with one thread, in whatever process; see train."""
    choose_device("cpu", threads=1)
    record, logits = train(recipe, digits_of(recipe.dataset, data_dir, recipe.validation), seed, progress=progress)
    probabilities = logits if recipe.output == "softmax" else logits.softmax(1)
    return recipe, seed, record, probabilities.numpy()


def train(
    recipe: Recipe,
    digits: data.Digits,
    seed: int,
    device: str | torch.device = "cpu",
    *,
    quiet: bool = True,
    progress: Path | None = None,
) -> tuple[dict[str, Any], Tensor]:
    """One run from fresh weights to its record and its logits of the test part, scored with the last weights.

    progress: a file in which the run is kept after each epoch, and from which it goes on.
    """
    start, keep = None, None
    if progress is not None:
        start, keep = _kept(progress, recipe, digits.name, seed)
    model = models.build(recipe, seed).to(device)
    model, history = training.fit(model, digits, recipe, seed, quiet=quiet, resume=start, on_epoch=keep)
    logits = evaluation.predict(model, digits.test.images)
    scores = evaluation.score(logits, digits.test.labels)
    calibrated = calibration.calibrate(model, digits, recipe.augmentation)
    record = records.describe(recipe, digits, seed, model, history, scores, calibrated)
    batch_means = evaluation.mean_of_batch_means(logits, digits.test.labels, recipe.batch_size)
    record["scores"]["mean_of_batch_means"] = batch_means  # as notebooks report the loss
    return record, logits


def _kept(
    path: Path, recipe: Recipe, dataset: str, seed: int
) -> tuple[dict[str, Any] | None, Callable[[dict[str, Any]], None]]:
    """The state of this very run where it was stopped, or None; and what keeps its later states.

    What cannot be gone on from is said and written over. A record names one commit, machine and version for all its
    epochs, so that a run that was begun by others is begun anew.
    """
    whose = {**records.identity(recipe, seed), "made_with": provenance.collect(models.build(recipe))}
    start = None
    if path.exists():
        try:
            start = checkpoints.load_progress(path, recipe, dataset, seed)
            if start.get("whose") != whose:
                raise UserError(f"{path} is of other settings, another commit, version or machine")
        except UserError as error:
            print(f"{str(error).split(';')[0]}; the run begins anew", flush=True)
            start = None

    def keep(state: dict[str, Any]) -> None:
        checkpoints.save_progress(path, recipe, dataset, seed, {**state, "whose": whose})

    return start, keep
