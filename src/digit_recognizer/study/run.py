"""One run of a recipe, from initial weights to its record. It may resume from a progress file."""

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

# A recipe, whose data set is used, a seed, the folder of the data, the progress file or None, and the device.
Job = tuple[Recipe, int, str | Path | None, Path | None, str]
# Recipe, seed, record, and test probabilities, float32 (n, 10).
Result = tuple[Recipe, int, dict[str, Any], np.ndarray]


def progress_path(out: str | Path, recipe: Recipe, seed: int) -> Path:
    """The progress file of a run. Its name differs from that of the main command."""
    return record_store.record_path(out, recipe, seed).with_suffix(".stopped.pth")


@functools.cache
def load_digits(name: str, data_dir: str | Path | None, validation: bool) -> data.Digits:
    """A data set, loaded once per process."""
    return data.load(name, data_dir, validation=validation)


def train_job(
    recipe: Recipe, seed: int, data_dir: str | Path | None, progress: Path | None = None, device: str = "cpu"
) -> Result:
    """Train with one thread, in any process; see `train`."""
    digits, chosen = load_digits(recipe.dataset, data_dir, recipe.validation), choose_device(device, threads=1)
    record, logits = train(recipe, digits, seed, chosen, progress=progress)
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
    """Train from initial weights. Returns the record and the test logits, float32 (n, 10), of the last weights.

    progress: a file that is written after each epoch; the run resumes from it where it exists.
    """
    resume, save = None, None
    if progress is not None:
        resume, save = _open_progress(progress, recipe, digits.name, seed, device)
    model = models.build(recipe, seed).to(device)
    model, history = training.fit(model, digits, recipe, seed, quiet=quiet, resume=resume, on_epoch=save)
    logits = evaluation.predict(model, digits.test.images)
    scores = evaluation.score(logits, digits.test.labels)
    calibrated = calibration.calibrate(model, digits, recipe.augmentation)
    record = records.describe(recipe, digits, seed, model, history, scores, calibrated)
    batch_means = evaluation.mean_of_batch_means(logits, digits.test.labels, recipe.batch_size)
    record["scores"]["mean_of_batch_means"] = batch_means  # the loss as notebooks report it
    return record, logits


def _open_progress(
    path: Path, recipe: Recipe, dataset: str, seed: int, device: str | torch.device
) -> tuple[dict[str, Any] | None, Callable[[dict[str, Any]], None]]:
    """The state to resume from, or None, and a function that saves later states.

    A record names one commit, version and machine for all its epochs. A state of another one, or a damaged file, is
    reported and overwritten.
    """
    made_with = provenance.collect(models.build(recipe).to(device), recipe.precision)
    origin = {**records.identity(recipe, seed), "made_with": made_with}
    state = None
    if path.exists():
        try:
            state = checkpoints.load_progress(path, recipe, dataset, seed)
            if state.get("origin") != origin:
                raise UserError(f"{path} is of other settings, another commit, version or machine")
        except UserError as error:
            print(f"{str(error).split(';')[0]}; the run starts again", flush=True)
            state = None

    def save(state: dict[str, Any]) -> None:
        checkpoints.save_progress(path, recipe, dataset, seed, {**state, "origin": origin})

    return state, save
