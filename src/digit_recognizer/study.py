"""Every seed of a recipe, one record each: a distribution instead of a single number; and all seeds as one."""

import contextlib
import dataclasses
import functools
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from digit_recognizer import (
    checkpoints,
    data,
    devices,
    engines,
    ensembles,
    evaluation,
    files,
    models,
    records,
    sources,
    training,
)
from digit_recognizer.errors import UserError
from digit_recognizer.published import PUBLISHED
from digit_recognizer.recipe import Recipe
from digit_recognizer.variants import VARIANTS

STUDIED = (*PUBLISHED, *VARIANTS)  # unless others are asked for
# How many seeds, unless asked for others, which are ten for all that is not here.
SEEDS = {
    "mlp_512_256_adam_5ep": 30,
    "mlp_128_64_adam_10ep": 30,
    "mlp_128_adam": 30,
    "mlp_128_64_sgd_15ep": 20,
}
QUICK_SEEDS = 2

# A recipe, on its own data set, a seed, the data's folder, and where the run is kept while it is under way.
Job = tuple[Recipe, int, str | Path | None, Path | None]
Result = tuple[Recipe, int, dict[str, Any], np.ndarray]  # recipe, seed, the record, and probabilities, float32 (n, 10)


def run(
    recipes: list[Recipe],
    seeds: int | None,
    out: str | Path,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    backend: str = "local",
    scheduler: str | None = None,
) -> None:
    """Train every recipe for seeds 0 to seeds - 1, one thread each; runs whose record is there are skipped.

    Writes out/<recipe>/<dataset>-seed<N>.json, its probabilities beside it, and what the seeds say together, as soon
    as each is there. On this machine a run that was stopped goes on after its last finished epoch. seeds: by default as
    many as SEEDS says. workers, backend, scheduler: see engines. Raises UserError where a data set cannot be had, and
    where another study writes to the same folder.
    """
    files.check_writable(out)
    engines.check(backend, scheduler, workers)
    recipes = list(dict.fromkeys(recipes))
    with _alone_in(Path(out)):
        for recipe in recipes:
            _set_aside_what_is_damaged(out, recipe)
        wanted = [(recipe, seed) for recipe in recipes for seed in range(seeds or SEEDS.get(recipe.name, 10))]
        missing = [(recipe, seed) for recipe, seed in wanted if not records.path_of(out, recipe, seed).exists()]
        missing.sort(key=lambda one: -one[0].epochs)  # the longest first, so that all workers end together
        for name, validation in sorted({(recipe.dataset, recipe.validation) for recipe, _ in missing}):
            _digits(name, data_dir, validation)  # whatever cannot be had stops the study before it begins
        jobs = [
            # A cluster's machines do not see this one's folders.
            (recipe, seed, data_dir, progress_of(out, recipe, seed) if backend == "local" else None)
            for recipe, seed in missing
        ]
        for recipe, seed, record, probabilities in _computed(jobs, workers, backend, scheduler):
            path = records.path_of(out, recipe, seed)
            buffer = io.BytesIO()
            np.save(buffer, probabilities)
            files.write_atomically(path.with_suffix(".npy"), buffer.getvalue())
            records.save(path, record)
        for recipe, seed in wanted:
            progress_of(out, recipe, seed).unlink(missing_ok=True)
        for recipe in recipes:
            ensembles.update(out, recipe, data_dir)


def quick(recipes: list[Recipe], data_dir: str | Path | None, **engine: Any) -> None:
    """See that every recipe can be studied: one epoch of each, two seeds, nothing is kept. engine: as run takes it."""
    short = [dataclasses.replace(recipe, epochs=1, clean_epochs=0) for recipe in recipes]
    with tempfile.TemporaryDirectory() as folder:
        run(short, QUICK_SEEDS, folder, data_dir, **engine)


def with_data(recipes: list[Recipe], data_dir: str | Path | None) -> list[Recipe]:
    """The same recipes, but those for QMNIST on both of its splits where it is on disk, else on MNIST."""
    found = []
    for recipe in recipes:
        names = [recipe.dataset]
        if recipe.dataset == "qmnist":
            folder = data.root_of(data_dir) / "QMNIST" / "raw"
            on_disk = all((folder / file).exists() for file in sources.QMNIST_FILES)
            names = ["qmnist", "qmnist-writers"] if on_disk else ["mnist"]
        found += [dataclasses.replace(recipe, dataset=name) for name in names]
    return found


@contextlib.contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Raise UserError where another study is writing to this folder. The lock ends with its process."""
    try:
        with filelock.FileLock(out / ".study.lock", timeout=0):
            yield
    except filelock.Timeout as error:
        raise UserError(f"another study is writing to {out}; wait for its end, or give --out another folder") from error


def _set_aside_what_is_damaged(out: str | Path, recipe: Recipe) -> None:
    """Give every record that is not whole, or of another run, another name, and say so; its run is then made again."""
    for seed in records.seeds_there(out, recipe):
        try:
            records.read(out, recipe, seed)
        except UserError as error:
            path = records.path_of(out, recipe, seed)
            aside, number = path.with_suffix(".json.aside"), 1
            while aside.exists():
                aside, number = path.with_suffix(f".json.aside{number}"), number + 1
            path.rename(aside)
            print(f"{str(error).split(';')[0]}; set aside as {aside.name}, and run again", flush=True)


def progress_of(out: str | Path, recipe: Recipe, seed: int) -> Path:
    """Where a run is kept while it is under way."""
    return records.path_of(out, recipe, seed).with_suffix(
        ".stopped.pth"
    )  # by a name that the main command does not use


def _computed(jobs: list[Job], workers: int | None, backend: str, scheduler: str | None) -> Iterator[Result]:
    """What train_alone makes of each job, as soon as it is there; a line and a step of a bar for each."""
    if not jobs:
        return
    epochs = sum(recipe.epochs for recipe, *_ in jobs)
    with (
        engines.engine(backend, scheduler, workers) as engine,
        tqdm(total=epochs, desc=f"0 of {len(jobs)} runs", unit="epoch", disable=None) as bar,
    ):
        for number, (recipe, seed, record, probabilities) in enumerate(engine(train_alone, jobs), start=1):
            yield recipe, seed, record, probabilities
            accuracy = record["scores"]["accuracy"]
            title = data.TITLES[recipe.dataset]
            bar.set_description(f"{number} of {len(jobs)} runs")
            bar.update(recipe.epochs)
            tqdm.write(f"{recipe.name} on {title}, seed {seed}: test accuracy {accuracy:.2%}")


@functools.cache
def _digits(name: str, data_dir: str | Path | None, validation: bool) -> data.Digits:
    return data.load(name, data_dir, validation=validation)


def train_alone(recipe: Recipe, seed: int, data_dir: str | Path | None, progress: Path | None = None) -> Result:
    """One run with one thread, in whatever process; see train."""
    devices.choose("cpu", threads=1)
    record, logits = train(recipe, _digits(recipe.dataset, data_dir, recipe.validation), seed, progress=progress)
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
    model, history = training.fit(model, digits, recipe, seed, quiet=quiet, start=start, after_epoch=keep)
    logits = evaluation.predict(model, digits.test.images)
    record = records.describe(recipe, digits, seed, model, history, evaluation.score(logits, digits.test.labels))
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
    whose = {**records.identity(recipe, seed), "made_with": records.provenance(models.build(recipe))}
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
