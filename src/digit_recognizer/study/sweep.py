"""Every seed of a recipe, one record each, and the ensembles of the first seeds."""

import contextlib
import dataclasses
import io
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from digit_recognizer import data, evaluation, models, records
from digit_recognizer.data import sources
from digit_recognizer.recipes.published import ABLATIONS, PUBLISHED
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime import files, provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import executors, record_store
from digit_recognizer.study import run as study_run
from digit_recognizer.study.record_store import ENSEMBLE_SIZES

STUDIED = (*PUBLISHED, *ABLATIONS)  # by default
# Seeds by default, where they are not ten.
SEEDS = {"mlp_512_256_adam_5ep": 30, "mlp_128_64_adam_10ep": 30, "mlp_128_adam": 30, "mlp_128_64_sgd_15ep": 20}
QUICK_SEEDS = 2


def run(
    recipes: list[Recipe],
    seeds: int | None,
    out: str | Path,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    backend: str = "local",
    scheduler: str | None = None,
    device: str = "cpu",
) -> None:
    """Train every recipe for seeds 0 to seeds - 1, one thread each; runs that have a record are skipped.

    Writes out/<recipe>/<dataset>-seed<N>.json and its probabilities as each run ends, then the ensembles. A stopped
    local run resumes after its last finished epoch. seeds: by default those of SEEDS. workers, backend, scheduler: see
    executors. device: see choose_device. Raises UserError where a data set or this machine's device is not available,
    and where another study writes to the same folder.
    """
    files.check_writable(out)
    executors.validate(backend, scheduler, workers)
    if backend == "local":
        choose_device(device)  # fails before any training
    recipes = list(dict.fromkeys(recipes))
    with _lock(Path(out)):
        for recipe in recipes:
            _set_aside_damaged(out, recipe)
        runs = [(recipe, seed) for recipe in recipes for seed in range(seeds or SEEDS.get(recipe.name, 10))]
        missing = [(recipe, seed) for recipe, seed in runs if not record_store.record_path(out, recipe, seed).exists()]
        missing.sort(key=lambda run: -run[0].epochs)  # the longest first, so that all workers end together
        for name, validation in sorted({(recipe.dataset, recipe.validation) for recipe, _ in missing}):
            study_run.load_digits(name, data_dir, validation)  # fails before any training where a set is not available
        # A cluster's machines cannot see this folder.
        progress = study_run.progress_path if backend == "local" else lambda *_: None
        jobs = [(recipe, seed, data_dir, progress(out, recipe, seed), device) for recipe, seed in missing]
        for recipe, seed, record, probabilities in _execute(jobs, workers, backend, scheduler):
            path = record_store.record_path(out, recipe, seed)
            buffer = io.BytesIO()
            np.save(buffer, probabilities)
            files.write_atomically(path.with_suffix(".npy"), buffer.getvalue())
            records.save(path, record)
        for recipe, seed in runs:
            study_run.progress_path(out, recipe, seed).unlink(missing_ok=True)
        for recipe in recipes:
            _update_ensemble(out, recipe, data_dir)


def quick(recipes: list[Recipe], data_dir: str | Path | None, **where: Any) -> None:
    """Check that every recipe can be studied: one epoch, two seeds, nothing kept. where: arguments of `run`."""
    short = [dataclasses.replace(recipe, epochs=1, epochs_without_augmentation=0) for recipe in recipes]
    with tempfile.TemporaryDirectory() as folder:
        run(short, QUICK_SEEDS, folder, data_dir, **where)


def resolve_datasets(recipes: list[Recipe], data_dir: str | Path | None) -> list[Recipe]:
    """The same recipes; one for QMNIST on both of its splits where QMNIST is on disk, else on MNIST."""
    resolved = []
    for recipe in recipes:
        names = [recipe.dataset]
        if recipe.dataset == "qmnist":
            on_disk = sources.qmnist_is_on_disk(data.root_of(data_dir))
            names = ["qmnist", "qmnist-writers"] if on_disk else ["mnist"]
        resolved += [dataclasses.replace(recipe, dataset=name) for name in names]
    return resolved


@contextlib.contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Raise UserError where another study writes to this folder. The lock ends with its process."""
    try:
        with filelock.FileLock(out / ".study.lock", timeout=0):
            yield
    except filelock.Timeout as error:
        raise UserError(f"another study is writing to {out}; wait until it ends, or choose another --out") from error


def _set_aside_damaged(out: str | Path, recipe: Recipe) -> None:
    """Rename, and report, every record that is damaged or of another run; its run is then made again."""
    for seed in record_store.list_seeds(out, recipe):
        try:
            record_store.read(out, recipe, seed)
        except UserError as error:
            path = record_store.record_path(out, recipe, seed)
            names = (path.with_suffix(f".json.aside{number or ''}") for number in itertools.count())
            aside = path.rename(next(name for name in names if not name.exists()))
            print(f"{str(error).split(';')[0]}; set aside as {aside.name}, and run again", flush=True)


def _execute(
    jobs: list[study_run.Job], workers: int | None, backend: str, scheduler: str | None
) -> Iterator[study_run.Result]:
    """Yield the result of each job as it ends; print a line and move a progress bar for each."""
    if not jobs:
        return
    epochs = sum(recipe.epochs for recipe, *_ in jobs)
    with (
        executors.open_executor(backend, scheduler, workers) as executor,
        tqdm(total=epochs, desc=f"0 of {len(jobs)} runs", unit="epoch", disable=None) as bar,
    ):
        for number, (recipe, seed, record, probabilities) in enumerate(executor(study_run.train_job, jobs), start=1):
            yield recipe, seed, record, probabilities
            bar.set_description(f"{number} of {len(jobs)} runs")
            bar.update(recipe.epochs)
            result = f"test accuracy {record['scores']['accuracy']:.2%}"
            tqdm.write(f"{recipe.name} on {data.TITLES[recipe.dataset]}, seed {seed}: {result}")


def _update_ensemble(out: str | Path, recipe: Recipe, data_dir: str | Path | None) -> None:
    """Write the scores of the ensembles of the first seeds, unless they are there or probabilities are missing."""
    paths = [record_store.record_path(out, recipe, seed) for seed in range(max(ENSEMBLE_SIZES))]
    paths = list(itertools.takewhile(lambda path: path.exists() and path.with_suffix(".npy").exists(), paths))
    weights = [record_store.read(out, recipe, seed)["weights"] for seed in range(len(paths))]
    target = record_store.record_path(out, recipe, "ensemble")
    try:
        known = json.loads(target.read_text())["weights"]
    except (OSError, ValueError, LookupError, TypeError):
        known = []
    if len(paths) >= ENSEMBLE_SIZES[1] and known[: len(weights)] != weights:
        digits = study_run.load_digits(recipe.dataset, data_dir, recipe.validation)
        probabilities = [np.load(path.with_suffix(".npy")) for path in paths]
        record = score_ensembles(recipe, weights, probabilities, digits.test.labels)
        made_with = provenance.collect(models.build(recipe))
        records.save(target, {**record, "md5": dict(digits.md5), "made_with": made_with})


def score_ensembles(
    recipe: Recipe, weights: list[str], probabilities: list[np.ndarray], labels: Tensor
) -> dict[str, Any]:
    """Scores of the mean probabilities of the first n seeds, for each size n; no seed is chosen.

    weights: hash of each member. probabilities: float32 (n, 10) of each member; labels: int64 (n,) of the test part.
    """
    members = torch.from_numpy(np.stack(probabilities))
    tiny = torch.finfo(members.dtype).tiny  # float32 rounds lower probabilities to zero, whose logarithm is infinite
    means = {size: members[:size].mean(0).clamp(min=tiny) for size in ENSEMBLE_SIZES if size <= len(members)}
    scores = {size: evaluation.score(mean.log(), labels) for size, mean in means.items()}
    return {
        "recipe": recipe.name,
        "dataset": recipe.dataset,
        "weights": weights,
        "scores": {str(size): records.scores_as_dict(each) for size, each in scores.items()},
    }
