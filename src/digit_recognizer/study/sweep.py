"""Every seed of a recipe, one record each: a distribution instead of a single number; and all seeds as one."""

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
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import executors, record_store
from digit_recognizer.study import run as study_run

STUDIED = (*PUBLISHED, *ABLATIONS)  # unless others are asked for
# How many seeds, unless asked for others, which are ten for all that is not here.
SEEDS = {
    "mlp_512_256_adam_5ep": 30,
    "mlp_128_64_adam_10ep": 30,
    "mlp_128_adam": 30,
    "mlp_128_64_sgd_15ep": 20,
}
QUICK_SEEDS = 2


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
    executors.check(backend, scheduler, workers)
    recipes = list(dict.fromkeys(recipes))
    with _alone_in(Path(out)):
        for recipe in recipes:
            _set_aside_what_is_damaged(out, recipe)
        wanted = [(recipe, seed) for recipe in recipes for seed in range(seeds or SEEDS.get(recipe.name, 10))]
        missing = [(recipe, seed) for recipe, seed in wanted if not record_store.path_of(out, recipe, seed).exists()]
        missing.sort(key=lambda one: -one[0].epochs)  # the longest first, so that all workers end together
        for name, validation in sorted({(recipe.dataset, recipe.validation) for recipe, _ in missing}):
            study_run.digits_of(name, data_dir, validation)  # whatever cannot be had stops the study before it begins
        jobs = [
            # A cluster's machines do not see this one's folders.
            (recipe, seed, data_dir, study_run.progress_of(out, recipe, seed) if backend == "local" else None)
            for recipe, seed in missing
        ]
        for recipe, seed, record, probabilities in _computed(jobs, workers, backend, scheduler):
            path = record_store.path_of(out, recipe, seed)
            buffer = io.BytesIO()
            np.save(buffer, probabilities)
            files.write_atomically(path.with_suffix(".npy"), buffer.getvalue())
            records.save(path, record)
        for recipe, seed in wanted:
            study_run.progress_of(out, recipe, seed).unlink(missing_ok=True)
        for recipe in recipes:
            update_ensemble(out, recipe, data_dir)


def quick(recipes: list[Recipe], data_dir: str | Path | None, **engine: Any) -> None:
    """See that every recipe can be studied: one epoch of each, two seeds, nothing is kept. engine: as run takes it."""
    short = [dataclasses.replace(recipe, epochs=1, epochs_without_augmentation=0) for recipe in recipes]
    with tempfile.TemporaryDirectory() as folder:
        run(short, QUICK_SEEDS, folder, data_dir, **engine)


def with_data(recipes: list[Recipe], data_dir: str | Path | None) -> list[Recipe]:
    """The same recipes, but those for QMNIST on both of its splits where it is on disk, else on MNIST."""
    found = []
    for recipe in recipes:
        names = [recipe.dataset]
        if recipe.dataset == "qmnist":
            on_disk = sources.qmnist_is_on_disk(data.root_of(data_dir))
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
    for seed in record_store.seeds_there(out, recipe):
        try:
            record_store.read(out, recipe, seed)
        except UserError as error:
            path = record_store.path_of(out, recipe, seed)
            aside, number = path.with_suffix(".json.aside"), 1
            while aside.exists():
                aside, number = path.with_suffix(f".json.aside{number}"), number + 1
            path.rename(aside)
            print(f"{str(error).split(';')[0]}; set aside as {aside.name}, and run again", flush=True)


def _computed(
    jobs: list[study_run.Job], workers: int | None, backend: str, scheduler: str | None
) -> Iterator[study_run.Result]:
    """What runs.train_alone makes of each job, as soon as it is there; a line and a step of a bar for each."""
    if not jobs:
        return
    epochs = sum(recipe.epochs for recipe, *_ in jobs)
    with (
        executors.engine(backend, scheduler, workers) as engine,
        tqdm(total=epochs, desc=f"0 of {len(jobs)} runs", unit="epoch", disable=None) as bar,
    ):
        for number, (recipe, seed, record, probabilities) in enumerate(engine(study_run.train_alone, jobs), start=1):
            yield recipe, seed, record, probabilities
            accuracy = record["scores"]["accuracy"]
            title = data.TITLES[recipe.dataset]
            bar.set_description(f"{number} of {len(jobs)} runs")
            bar.update(recipe.epochs)
            tqdm.write(f"{recipe.name} on {title}, seed {seed}: test accuracy {accuracy:.2%}")


def update_ensemble(out: str | Path, recipe: Recipe, data_dir: str | Path | None) -> None:
    """Write what the first seeds say together, unless that stands there, or more, or probabilities are missing."""
    paths = [record_store.path_of(out, recipe, seed) for seed in range(max(record_store.SIZES))]
    paths = list(itertools.takewhile(lambda path: path.exists() and path.with_suffix(".npy").exists(), paths))
    weights = [record_store.read(out, recipe, seed)["weights"] for seed in range(len(paths))]
    target = record_store.path_of(out, recipe, "ensemble")
    try:
        stands = json.loads(target.read_text())["weights"]
    except (OSError, ValueError, LookupError, TypeError):
        stands = []
    if len(paths) >= record_store.SIZES[1] and stands[: len(weights)] != weights:
        digits = study_run.digits_of(recipe.dataset, data_dir, recipe.validation)
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
    means = {size: members[:size].mean(0).clamp(min=tiny) for size in record_store.SIZES if size <= len(members)}
    scores = {size: evaluation.score(mean.log(), labels) for size, mean in means.items()}
    return {
        "recipe": recipe.name,
        "dataset": recipe.dataset,
        "weights": weights,
        "scores": {str(size): records.scores_as_dict(each) for size, each in scores.items()},
    }
