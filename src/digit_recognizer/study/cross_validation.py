"""3-fold cross-validation: compares recipes without looking at the test digits.

Each recipe is trained three times, on two thirds of the training digits, and scored on the held-out third. So all
60,000 digits are predicted once, twelve times as many as the validation part has; the best networks differ in few.
"""

import json
from pathlib import Path
from typing import Any

import scipy.stats
import torch

from digit_recognizer import data, evaluation, models, recipes, training
from digit_recognizer.data import Digits, Split
from digit_recognizer.data.digits import SPLIT_SEED
from digit_recognizer.recipes.recipe import Augmentation, Recipe, from_plain_types
from digit_recognizer.recognition import calibration
from digit_recognizer.runtime import files, provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import columns
from digit_recognizer.study import executors
from digit_recognizer.study.run import load_digits

FOLDS = 3
SEED = 100  # of the first fold, then 101 and 102, and on; reported numbers come from seeds 0 and up
FILE = "folds.json"


def run(
    texts: list[str], out: str | Path = "results", data_dir: str | Path | None = None, workers: int | None = None
) -> None:
    """Train what is missing in out/folds.json, one thread each, save it there, and print a table.

    texts: recipes as parse_recipe takes them; all others are compared with the first. Raises UserError for a recipe
    that cannot be trained, and for a file with other content.
    """
    chosen = {" ".join(text.split()): parse_recipe(text) for text in texts}
    known = load_folds(out)
    missing = {name: recipe for name, recipe in chosen.items() if _find(known, recipe) is None}
    for recipe in missing.values():
        data.load(recipe.dataset, data_dir)  # fails before any training where a set is not available
    if missing:
        files.check_writable(out)
    with executors.open_executor(workers=workers) as executor:
        jobs = [(name, recipe, fold, data_dir) for name, recipe in missing.items() for fold in range(FOLDS)]
        done: dict[str, list[dict[str, Any]]] = {name: [] for name in missing}
        for name, fold in executor(train_fold, jobs) if jobs else ():
            done[name].append(fold)
            print(f"{name}, fold {fold['fold']}: {len(fold['wrong'])} of {fold['count']:,} wrong", flush=True)
            if len(done[name]) == FOLDS:
                by_number = sorted(done[name], key=lambda fold: fold["fold"])
                known = load_folds(out) | {name: {"settings": chosen[name].settings, "folds": by_number}}
                files.write_atomically(Path(out) / FILE, (json.dumps(known) + "\n").encode())
    print(table({name: _find(known, recipe) or [] for name, recipe in chosen.items()}))


def parse_recipe(text: str) -> Recipe:
    """A recipe by its name, then changed fields: "cnn_best epochs=20 augmentation.elastic=1.5".

    Raises UserError for an unknown name or field, and for a value that is not JSON or cannot be trained with.
    """
    name, *changes = text.split() or [""]
    if "=" in name:
        raise UserError(f"'{name}' is not a recipe; quote a recipe with its changes, such as \"cnn_best epochs=20\"")
    settings = recipes.get(name).settings
    for change in changes:
        field, _, value = change.partition("=")
        *group, field = field.split(".")
        place, of = (settings["augmentation"], Augmentation) if group == ["augmentation"] else (settings, Recipe)
        if group not in ([], ["augmentation"]) or not isinstance(place, dict) or field not in of.__annotations__:
            raise UserError(f"'{change}' changes no field of a recipe; write epochs=20 or augmentation.elastic=1.5")
        try:
            if (parsed := json.loads(value)) is None:
                raise ValueError(value)
            place[field] = parsed
        except ValueError as error:
            raise UserError(f"{field} cannot be '{value}'; write it as JSON, text in double quotes") from error
    try:
        return recipes.get(name, **from_plain_types(settings))
    except UserError:  # also a ValueError
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"'{text}' is not a recipe: a field has a value of the wrong type") from error


def load_folds(out: str | Path) -> dict[str, Any]:
    """The content of out/folds.json by recipe text, {} without one. Raises UserError for other content."""
    path = Path(out) / FILE
    try:
        known = json.loads(path.read_text()) if path.exists() else {}
        for each in known.values():
            losses = [fold["calibrated_loss"] for fold in each["folds"]]
            if len(losses) != FOLDS or not isinstance(each["settings"], dict):
                raise ValueError
        return known
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"{path} is not a file of compare; delete it and run again") from error


def _find(known: dict[str, Any], recipe: Recipe) -> list[dict[str, Any]] | None:
    """The folds of a recipe with the same settings, under whatever text."""
    return next((each["folds"] for each in known.values() if each["settings"] == recipe.settings), None)


def split_fold(train: Split, fold: int, folds: int = FOLDS, few: bool = False) -> tuple[Split, Split, torch.Tensor]:
    """All folds but one to train on, the one held out, and its indices, int64 (n,): a fixed random split.

    few: only 250 and 100 of these digits, to try what needs them.
    """
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    held_out = order.tensor_split(folds)[fold].sort().values
    others = torch.ones(len(order), dtype=torch.bool).index_fill_(0, held_out, 0).nonzero().flatten()
    if few:
        others, held_out = others[:250], held_out[:100]
    return train.take(others), train.take(held_out), held_out


def seed_of(fold: int, repeat: int = 0) -> int:
    """The seed of a training on a fold. repeat: number of the training on that fold."""
    return SEED + FOLDS * repeat + fold


def train_fold(name: str, recipe: Recipe, fold: int, data_dir: str | Path | None = None) -> tuple[str, dict[str, Any]]:
    """Train on one fold, in any process. Returns the name and what `predict_fold` says, without the logits."""
    return name, predict_fold(recipe, fold, data_dir)[0]


def predict_fold(
    recipe: Recipe,
    fold: int,
    data_dir: str | Path | None = None,
    repeat: int = 0,
    device: str = "cpu",
    few: bool = False,
) -> tuple[dict[str, Any], torch.Tensor]:
    """Train on one fold, and predict its held-out third. Returns plain types, and the logits, float32 (n, 10).

    In the former wrong are indices among all training digits. repeat: see seed_of. few: see split_fold.
    """
    chosen, seed = choose_device(device, threads=1), seed_of(fold, repeat)
    digits = load_digits(recipe.dataset, data_dir, False)
    train, held_out, indices = split_fold(digits.train, fold, few=few)
    one = held_out.take(torch.arange(1))  # fit scores this part after each epoch, which is of no use here
    model = models.build(recipe, seed).to(chosen)
    digits = Digits(digits.name, train, None, one, digits.md5)
    model, history = training.fit(model, digits, recipe, seed, quiet=True)
    logits = evaluation.predict(model, held_out.images)
    scores = evaluation.score(logits, held_out.labels)
    temperature = calibration.fit_temperature(logits, held_out.labels)
    return {
        "fold": fold,
        "seed": seed,
        "count": scores.count,
        "wrong": indices[logits.argmax(1) != held_out.labels].tolist(),
        "loss": scores.mean_loss,
        "temperature": temperature,
        # Comparable between networks with and without label smoothing.
        "calibrated_loss": evaluation.score(logits / temperature, held_out.labels).mean_loss,
        "seconds": sum(metrics["seconds"] for metrics in history),
        "weights": provenance.weights_hash(model),
        "md5": dict(digits.md5),
        "made_with": provenance.collect(model, recipe.precision),
    }, logits


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Results as text, compared with the first recipe by the exact McNemar test.

    Discordant pairs are the digits that only one of both recipes reads wrong: this one, the first.
    """
    wrong = {name: {index for fold in folds for index in fold["wrong"]} for name, folds in results.items()}
    first = next(iter(wrong.values()))
    rows = [("wrong", "by fold", "loss", "calibrated", "seconds", "discordant pairs", "p", "recipe")]
    for name, folds in results.items():
        count = sum(fold["count"] for fold in folds)
        losses = [sum(fold[loss] * fold["count"] for fold in folds) / count for loss in ("loss", "calibrated_loss")]
        rows.append((
            f"{len(wrong[name])} of {count:,}", " ".join(str(len(fold["wrong"])) for fold in folds),
            f"{losses[0]:.4f}", f"{losses[1]:.5f}", f"{sum(fold['seconds'] for fold in folds):.0f}",
            *(_mcnemar(wrong[name], first) if len(rows) > 1 else ("", "")), name,
        ))  # fmt: skip
    return columns(rows)


def _mcnemar(wrong: set[int], first: set[int]) -> tuple[str, str]:
    """Both numbers of discordant pairs, and the p value of the exact test, as text."""
    this_only, first_only = len(wrong - first), len(first - wrong)
    pairs = this_only + first_only
    p = scipy.stats.binomtest(this_only, pairs).pvalue if pairs else 1.0
    return f"{this_only}, {first_only}", f"{p:.2f}" if p >= 0.01 else "<0.01"
