"""Every seed of a recipe, one record each: a distribution instead of a single number; and all seeds as one."""

import contextlib
import dataclasses
import functools
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

from digit_recognizer import data, devices, engines, evaluation, files, models, records, sources, training
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

Run = tuple[Recipe, int]  # a recipe, on its own data set, and a seed
Result = tuple[Recipe, int, dict[str, Any], np.ndarray]  # the same, the record, and probabilities, float32 (n, 10)


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
    as each is there. seeds: by default as many as SEEDS says. workers, backend, scheduler: see engines. Raises
    UserError where a data set cannot be had, and where another study writes to the same folder.
    """
    files.check_writable(out)
    engines.check(backend, scheduler, workers)
    recipes = list(dict.fromkeys(recipes))
    with _alone_in(Path(out)):
        for recipe in recipes:
            _set_aside_what_is_damaged(out, recipe)
        wanted = [(recipe, seed) for recipe in recipes for seed in range(seeds or SEEDS.get(recipe.name, 10))]
        missing = [(recipe, seed) for recipe, seed in wanted if not records.path_of(out, recipe, seed).exists()]
        missing.sort(key=lambda one: -one[0].all_epochs)  # the longest first, so that all workers end together
        for name, validation in sorted({(recipe.dataset, recipe.validation) for recipe, _ in missing}):
            _digits(name, data_dir, validation)  # whatever cannot be had stops the study before it begins
        for recipe, seed, record, probabilities in _computed(missing, data_dir, workers, backend, scheduler):
            path = records.path_of(out, recipe, seed)
            buffer = io.BytesIO()
            np.save(buffer, probabilities)
            files.write_atomically(path.with_suffix(".npy"), buffer.getvalue())
            records.save(path, record)
        for recipe in recipes:
            _update_ensemble(out, recipe, data_dir)


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


def _computed(
    runs: list[Run], data_dir: str | Path | None, workers: int | None, backend: str, scheduler: str | None
) -> Iterator[Result]:
    """What train_alone makes of each run, as soon as it is there; a line and a step of a bar for each."""
    if not runs:
        return
    epochs = sum(recipe.all_epochs for recipe, _ in runs)
    with (
        engines.engine(backend, scheduler, workers) as engine,
        tqdm(total=epochs, desc=f"0 of {len(runs)} runs", unit="epoch", disable=None) as bar,
    ):
        jobs = [(recipe, seed, data_dir) for recipe, seed in runs]
        for number, (recipe, seed, record, probabilities) in enumerate(engine(train_alone, jobs), start=1):
            yield recipe, seed, record, probabilities
            accuracy = record["scores"]["accuracy"]
            title = data.TITLES[recipe.dataset]
            bar.set_description(f"{number} of {len(runs)} runs")
            bar.update(recipe.all_epochs)
            tqdm.write(f"{recipe.name} on {title}, seed {seed}: test accuracy {accuracy:.2%}")


@functools.cache
def _digits(name: str, data_dir: str | Path | None, validation: bool) -> data.Digits:
    return data.load(name, data_dir, validation=validation)


def train_alone(recipe: Recipe, seed: int, data_dir: str | Path | None) -> Result:
    """One run with one thread, in whatever process."""
    devices.choose("cpu", threads=1)
    record, logits = train(recipe, _digits(recipe.dataset, data_dir, recipe.validation), seed)
    probabilities = logits if recipe.output == "softmax" else logits.softmax(1)
    return recipe, seed, record, probabilities.numpy()


def train(
    recipe: Recipe, digits: data.Digits, seed: int, device: str | torch.device = "cpu", *, quiet: bool = True
) -> tuple[dict[str, Any], Tensor]:
    """One run from fresh weights to its record and its logits of the test part, scored with the last weights."""
    model, history = training.fit(models.build(recipe, seed).to(device), digits, recipe, seed, quiet=quiet)
    logits = evaluation.predict(model, digits.test.images)
    record = records.describe(recipe, digits, seed, model, history, evaluation.score(logits, digits.test.labels))
    batch_means = evaluation.mean_of_batch_means(logits, digits.test.labels, recipe.batch_size)
    record["scores"]["mean_of_batch_means"] = batch_means  # as notebooks report the loss
    return record, logits


def _update_ensemble(out: str | Path, recipe: Recipe, data_dir: str | Path | None) -> None:
    """Write what the first seeds say together, unless that stands there, or more, or probabilities are missing."""
    paths = [records.path_of(out, recipe, seed) for seed in range(max(records.ENSEMBLES))]
    paths = list(itertools.takewhile(lambda path: path.exists() and path.with_suffix(".npy").exists(), paths))
    weights = [records.read(out, recipe, seed)["weights"] for seed in range(len(paths))]
    target = records.path_of(out, recipe, "ensemble")
    try:
        stands = json.loads(target.read_text())["weights"]
    except (OSError, ValueError, LookupError, TypeError):
        stands = []
    if len(paths) >= records.ENSEMBLES[1] and stands[: len(weights)] != weights:
        digits = _digits(recipe.dataset, data_dir, recipe.validation)
        probabilities = [np.load(path.with_suffix(".npy")) for path in paths]
        record = ensemble(recipe, weights, probabilities, digits.test.labels)
        made_with = records.provenance(models.build(recipe))
        records.save(target, {**record, "md5": dict(digits.md5), "made_with": made_with})


def ensemble(recipe: Recipe, weights: list[str], probabilities: list[np.ndarray], labels: Tensor) -> dict[str, Any]:
    """Scores of the mean of the probabilities of the first n seeds, for each n that there is; no seed is chosen.

    probabilities: float32 (n, 10) of each seed; labels: int64 (n,) of the test part. weights: each one's hash.
    """
    members = torch.from_numpy(np.stack(probabilities))
    tiny = torch.finfo(members.dtype).tiny  # float32 rounds what is less likely to nought, whose logarithm is infinite
    means = {size: members[:size].mean(0).clamp(min=tiny) for size in records.ENSEMBLES if size <= len(members)}
    scores = {size: evaluation.score(mean.log(), labels) for size, mean in means.items()}
    return {
        "recipe": recipe.name,
        "dataset": recipe.dataset,
        "weights": weights,
        "scores": {str(size): records.scores_as_dict(each) for size, each in scores.items()},
    }
