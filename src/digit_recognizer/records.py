"""A run as a small JSON file, from which tables and figures can be made again, and where a run's files lie."""

import contextlib
import hashlib
import json
import math
import platform
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from digit_recognizer import __version__, calibration, files, processes, recipes
from digit_recognizer.data import Digits
from digit_recognizer.errors import UserError
from digit_recognizer.evaluation import Scores
from digit_recognizer.recipe import Published, Recipe

FORMAT = 2


@dataclass(frozen=True)
class Outputs:
    """Where a run writes. Only MNIST's go by the plain names, so that no other set ever overwrites them."""

    model: Path
    progress: Path
    figures: Path
    record: Path


def outputs(folder: str | Path, recipe: Recipe, dataset: str, seed: int) -> Outputs:
    """The files of a run under a folder, which is made. Raises UserError where it cannot be written."""
    folder = Path(folder)
    files.check_writable(folder)
    return Outputs(
        model=folder / f"{dataset}_model.pth",
        progress=folder / "runs" / recipe.name / f"{dataset}-seed{seed}.progress.pth",
        figures=folder / "figures" if dataset == "mnist" else folder / "figures" / dataset,
        record=folder / "runs" / recipe.name / f"{dataset}-seed{seed}.json",
    )


def describe(
    recipe: Recipe, digits: Digits, seed: int, model: nn.Module, history: list[dict[str, Any]], scores: Scores
) -> dict[str, Any]:
    """All that is to be known of a finished run, in plain types: what was trained, on what, how, and what came out.

    Accuracies are fractions, losses nats per digit, seconds are of training alone.
    """
    return {
        **identity(recipe, seed),
        "dataset": digits.name,
        "md5": dict(digits.md5),
        "scores": scores_as_dict(scores),
        "meaning": calibration.meaning(model, digits, recipe.augmentation),
        "history": history,
        "seconds": sum(row["seconds"] for row in history),
        "weights": weights_hash(model),
        "made_with": provenance(model),
    }


def identity(recipe: Recipe, seed: int) -> dict[str, Any]:
    """What says which run a record is of: a recipe on its own data set, with all its settings, and the seed."""
    overrides = json.loads(json.dumps(recipes.overrides_of(recipe), default=asdict))  # as they are read again
    run = {"recipe": recipe.name, "overrides": overrides, "seed": seed, "dataset": recipe.dataset}
    return {"format": FORMAT, **run, "settings": recipe.settings}


def scores_as_dict(scores: Scores) -> dict[str, Any]:
    """Scores in plain types: accuracy and its interval as fractions, loss in nats per digit."""
    return {
        "count": scores.count,
        "correct": scores.correct,
        "accuracy": scores.accuracy,
        "interval": list(scores.interval),
        "loss": scores.mean_loss,
    }


def provenance(model: nn.Module) -> dict[str, Any]:
    """With what a number was made: versions, machine, its products and threads, processes, commit."""
    device = next(model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "package": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "device": device.type,
        "device_name": name,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "products": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "processes": processes.count(),
        **_commit(),
    }


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names and bytes of all weights: equal only where two networks are equal bit for bit."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save(path: str | Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, atomically."""
    files.write_atomically(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


def path_of(folder: str | Path, recipe: Recipe, seed: int | str) -> Path:
    """Where a study keeps the record of a seed, or of all seeds as one."""
    name = seed if isinstance(seed, str) else f"seed{seed}"
    return Path(folder) / recipe.name / f"{recipe.dataset}-{name}.json"


def read(folder: str | Path, recipe: Recipe, seed: int) -> dict[str, Any]:
    """The record of a study's run. Raises UserError for one that is not whole, or of another run or format."""
    path = path_of(folder, recipe, seed)
    try:
        record = json.loads(path.read_text())
        record["settings"] = with_defaults(record["settings"])
        other = [field for field, value in identity(recipe, seed).items() if record.get(field) != value]
        whole = bool(other) or _is_whole(record, recipe.epochs)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{path} is no whole record; study sets it aside and makes it again") from error
    if not whole:
        raise UserError(f"{path} is no whole record; study sets it aside and makes it again")
    if other:
        raise UserError(f"{path} is of another run: other {other[0]}; study sets it aside and makes it again")
    return record


def with_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run, with the defaults of those that did not exist yet when it was made: it was made with these."""
    plain = Recipe("", "", widths=(784, 10), epochs=1).settings
    return plain | settings | {"augmentation": plain["augmentation"] | settings["augmentation"]}


def _is_whole(record: dict[str, Any], epochs: int) -> bool:
    """Whether all numbers are there that are read of a record, and agree. Raises what JSON of another form leads to."""
    scores, rows = record["scores"], record["history"]
    measured = [scores["loss"], scores["mean_of_batch_means"]]
    measured += [row[field] for row in rows for field in ("train_loss", "train_accuracy", "seconds")]
    measured += [row["held_out_accuracy"] for row in rows if row["held_out_accuracy"] is not None]
    return (
        [row["epoch"] for row in rows] == list(range(1, epochs + 1))
        and rows[-1]["held_out_accuracy"] is not None
        and scores["accuracy"] == scores["correct"] / scores["count"]
        and all(math.isfinite(number) for number in measured)
        and len(record["weights"]) == 64
    )


def read_all(folder: str | Path, recipe: Recipe) -> list[dict[str, Any]]:
    """The records of a recipe on its own data set, by seed. Raises UserError for one that read would not take."""
    return [read(folder, recipe, seed) for seed in seeds_there(folder, recipe)]


def seeds_there(folder: str | Path, recipe: Recipe) -> list[int]:
    """The seeds of which there are records, whole or not, in order."""
    names = (path.stem.rpartition("seed")[2] for path in Path(folder, recipe.name).glob(f"{recipe.dataset}-seed*.json"))
    return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))


def published_for(recipe: Recipe | None, dataset: str) -> Published | None:
    """What a recipe's source reports, where it is this very training on this data set that it reports; else None."""
    if recipe is None or (known := recipes.RECIPES.get(recipe.name)) is None:
        return None
    return known.published if known.dataset == dataset and known.settings == recipe.settings else None


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> dict[str, Any]:
    """The commit of this checkout and whether the package was changed since; both None where this is no checkout."""
    here = Path(__file__).resolve().parent
    answers = []
    # The first fails where the package is installed below a checkout of something else, whose commit says nothing.
    for command in (
        ["ls-files", "--error-unmatch", "__init__.py"],
        ["rev-parse", "HEAD"],
        ["status", "--porcelain", "."],
    ):
        try:
            ran = subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return {"commit": None, "changed": None}
        answers.append(ran.stdout.strip())
    return {"commit": answers[1], "changed": bool(answers[2])}
