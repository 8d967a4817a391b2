"""Which of several recipes reads more, without a look at the test digits.

Each is trained three times, on two thirds of the training digits, and reads the third that it has not seen: all 60,000
are read once, twelve times as many as the validation part has. The best networks differ in few digits of ten thousand.
"""

import json
from pathlib import Path
from typing import Any

import scipy.stats
import torch

from digit_recognizer import data, evaluation, models, recipes, training
from digit_recognizer.data import Digits, Split
from digit_recognizer.data.sources import SPLIT_SEED
from digit_recognizer.recipes.recipe import Recipe, from_plain_types
from digit_recognizer.recognition import calibration
from digit_recognizer.runtime import files, provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import columns
from digit_recognizer.study import executors

FOLDS = 3
SEED = 100  # of the first fold, then 101 and 102: the numbers that are reported come from seeds 0 and up
FILE = "folds.json"


def run(
    asked: list[str], out: str | Path = "results", data_dir: str | Path | None = None, workers: int | None = None
) -> None:
    """Train what is missing in out/folds.json, one thread each, keep it there, and print what all asked for got.

    asked: as recipe_of takes them; the first is what the others are compared with. Raises UserError for what cannot be
    trained, and for a file that holds something else.
    """
    chosen = {" ".join(text.split()): recipe_of(text) for text in asked}
    known = kept(out)
    missing = [(name, recipe) for name, recipe in chosen.items() if _found(known, recipe) is None]
    for _, recipe in missing:
        data.load(recipe.dataset, data_dir)  # what cannot be had stops it before it begins
    if missing:
        files.check_writable(out)
    with executors.engine(workers=workers) as engine:
        jobs = [(name, recipe, fold, data_dir) for name, recipe in missing for fold in range(FOLDS)]
        done: dict[str, list[dict[str, Any]]] = {name: [] for name, _ in missing}
        for name, part in engine(train, jobs) if jobs else ():
            done[name].append(part)
            print(f"{name}, fold {part['fold']}: {len(part['wrong'])} of {part['count']:,} wrong", flush=True)
            if len(done[name]) == FOLDS:
                by_fold = sorted(done[name], key=lambda part: part["fold"])
                known = kept(out) | {name: {"settings": chosen[name].settings, "folds": by_fold}}
                files.write_atomically(Path(out) / FILE, (json.dumps(known) + "\n").encode())
    print(table({name: _found(known, recipe) or [] for name, recipe in chosen.items()}))


def recipe_of(text: str) -> Recipe:
    """A recipe by its name, and after it what is to be changed: "cnn_best epochs=20 augmentation.elastic=1.5".

    Raises UserError for an unknown name or field, and for a value that is no JSON or cannot be trained with.
    """
    name, *changes = text.split() or [""]
    if "=" in name:
        raise UserError(f"'{name}' is no recipe; quote a recipe with its changes, such as \"cnn_best epochs=20\"")
    settings = recipes.get(name).settings
    for change in changes:
        field, _, value = change.partition("=")
        *group, field = field.split(".")
        place = settings["augmentation"] if group == ["augmentation"] else settings
        if group not in ([], ["augmentation"]) or not isinstance(place, dict) or field not in place:
            raise UserError(f"'{change}' changes no field of a recipe, such as epochs=20 or augmentation.elastic=1.5")
        try:
            if (found := json.loads(value)) is None:
                raise ValueError(value)
            place[field] = found
        except ValueError as error:
            raise UserError(
                f"'{value}' is no value, as JSON writes them (words in double quotes), that {field} could have"
            ) from error
    try:
        return recipes.get(name, **from_plain_types(settings))
    except UserError:  # a ValueError, too
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"'{text}' is no recipe: a value is of a kind that its field does not take") from error


def kept(out: str | Path) -> dict[str, Any]:
    """What stands in out/folds.json by what was asked for, nothing where there is none. Raises UserError else."""
    path = Path(out) / FILE
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
        losses = {name: [part["calibrated_loss"] for part in each["folds"]] for name, each in found.items()}
        if not all(len(losses[name]) == FOLDS and each["settings"]["epochs"] for name, each in found.items()):
            raise ValueError
        return found
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path} is not what compare writes; delete it and run again") from error


def _found(known: dict[str, Any], recipe: Recipe) -> list[dict[str, Any]] | None:
    """What this training, with all its settings, has given, in whatever words it was asked for."""
    of_it = (each["folds"] for each in known.values() if each["settings"] == recipe.settings)
    return next(of_it, None)


def division(train: Split, fold: int) -> tuple[Split, Split, torch.Tensor]:
    """Two thirds to train on, and the third that is held out, with its places among all: a fixed random division."""
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    held_out = order.tensor_split(FOLDS)[fold].sort().values
    others = torch.ones(len(order), dtype=torch.bool).index_fill_(0, held_out, 0).nonzero().flatten()
    return train.take(others), train.take(held_out), held_out


def train(name: str, recipe: Recipe, fold: int, data_dir: str | Path | None = None) -> tuple[str, dict[str, Any]]:
    """One training, in whatever process, in plain types; wrong: places among all training digits."""
    choose_device("cpu", threads=1)
    digits = data.load(recipe.dataset, data_dir)
    few, held_out, places = division(digits.train, fold)
    one = held_out.take(torch.arange(1))  # what a curve is drawn on, which nobody looks at here
    model = models.build(recipe, SEED + fold)
    model, history = training.fit(
        model, Digits(digits.name, few, None, one, digits.md5), recipe, SEED + fold, quiet=True
    )
    logits = evaluation.predict(model, held_out.images)
    scores = evaluation.score(logits, held_out.labels)
    calibrated = evaluation.score(logits / calibration.fit_temperature(logits, held_out.labels), held_out.labels)
    return name, {
        "fold": fold,
        "seed": SEED + fold,
        "count": scores.count,
        "wrong": places[logits.argmax(1) != held_out.labels].tolist(),
        "loss": scores.mean_loss,
        "calibrated_loss": calibrated.mean_loss,  # by which networks trained to be unsure and others compare
        "seconds": sum(row["seconds"] for row in history),
        "weights": provenance.weights_hash(model),
        "md5": dict(digits.md5),
        "made_with": provenance.collect(model),
    }


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """What each got, and beside the first: digits that only one of both reads wrong, and their sign test."""
    wrong = {name: {place for part in of for place in part["wrong"]} for name, of in results.items()}
    first = next(iter(wrong.values()))
    rows = [("wrong", "by thirds", "loss", "calibrated", "seconds", "only it", "only the first", "p", "recipe")]
    for name, of in results.items():
        only, others = len(wrong[name] - first), len(first - wrong[name])
        p = scipy.stats.binomtest(only, only + others).pvalue if only + others else 1.0
        count = sum(part["count"] for part in of)
        losses = [sum(part[kind] * part["count"] for part in of) / count for kind in ("loss", "calibrated_loss")]
        thirds = " ".join(str(len(part["wrong"])) for part in of)
        rows.append((
            f"{len(wrong[name])} of {count:,}", thirds, f"{losses[0]:.4f}", f"{losses[1]:.5f}",
            f"{sum(part['seconds'] for part in of):.0f}",
            *((str(only), str(others), f"{p:.2f}" if p >= 0.01 else "<0.01") if len(rows) > 1 else ("", "", "")), name,
        ))  # fmt: skip
    return columns(rows)
