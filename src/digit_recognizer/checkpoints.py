"""A trained network as a file, and back. A file is data: nothing in it is ever run.

Ours holds plain types only: format number, recipe, weights, the record of the run, and a checksum of it all. The
published projects' bare state dicts of linear layers are read too; they have no checksum but that of PyTorch's archive.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from digit_recognizer import models
from digit_recognizer.recipes.recipe import Published, Recipe, from_plain_types
from digit_recognizer.runtime import distributed, model_file
from digit_recognizer.runtime.errors import UserError

MOST_WEIGHTS = 1000  # tensors of a network
PRETRAINED = Path(__file__).parent / "pretrained"


@dataclass(frozen=True)
class Checkpoint:
    """A network read from a file. recipe and record are None where the file is a bare state dict."""

    model: nn.Module
    recipe: Recipe | None
    record: dict[str, Any] | None


def save(path: str | Path, model: nn.Module, recipe: Recipe, record: dict[str, Any]) -> None:
    """Write a network, its recipe and the record of its run, atomically. Raises UserError; the old file survives.

    record: what JSON can hold, or a TypeError says so before anything is written.
    """
    record = json.loads(json.dumps(record))  # plain types only: PyTorch would write more than it reads again
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    model_file.write(path, {"recipe": dataclasses.asdict(recipe), "state": state, "record": record})


def load(path: str | Path, mean: float | None = None, std: float | None = None) -> Checkpoint:
    """Read a network and rebuild it from the file alone.

    mean, std: of the pixels in [0, 1], as a bare state dict of linear layers was trained with; our own files
    know theirs. Raises UserError for what is not a network of ours or of linear layers, or not what was saved.
    """
    content = model_file.read(path)
    if model_file.is_ours(content):
        if mean is not None or std is not None:
            raise UserError(f"{path} knows how its pixels were normalised; leave out --mean and --std")
        return _ours(path, content)
    if isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values()):
        return Checkpoint(_bare(path, content, mean, std), None, None)
    raise UserError(f"{path} holds neither a network of this project nor a state dict of linear layers")


def pretrained(recipe: str) -> Checkpoint:
    """A network that comes with this package; pretrained/README.md says what it is good for. Needs no MNIST.

    Raises UserError, naming those that there are, for another.
    """
    path = PRETRAINED / f"{recipe}.pth"
    if not path.exists():
        there = ", ".join(sorted(other.stem for other in PRETRAINED.glob("*.pth")))
        raise UserError(f"no pretrained network '{recipe}'; there are {there}")
    return load(path)


def load_model(path: str | Path, mean: float | None = None, std: float | None = None) -> nn.Module:
    """The network of a file, ready to predict; see load."""
    return load(path, mean, std).model


def save_progress(path: str | Path, recipe: Recipe, dataset: str, seed: int, progress: dict[str, Any]) -> None:
    """Write what training needs to go on from here (see training.fit), atomically."""
    run = {"recipe": _run_fields(recipe), "dataset": dataset, "seed": seed}
    model_file.write(path, {"run": run, "progress": progress})


@distributed.raise_together()
def load_progress(path: str | Path, recipe: Recipe, dataset: str, seed: int) -> dict[str, Any]:
    """What save_progress wrote. Raises UserError where it is absent, damaged or of another run."""
    if not Path(path).exists():
        why = "no such run was stopped, or it has ended since"
        raise UserError(f"there is nothing to resume: {path} does not exist ({why}); run without --resume")
    try:
        content = model_file.read(path)
    except UserError as error:
        why = str(error).split(";")[0]
        raise UserError(f"{why}; delete this progress file and run without --resume") from error
    if not isinstance(content, Mapping) or content.get("format") != model_file.FORMAT or "progress" not in content:
        raise UserError(f"{path} is not a progress file of this version; delete it and run without --resume")
    if content.get("run") != {"recipe": _run_fields(recipe), "dataset": dataset, "seed": seed}:
        raise UserError(f"{path} is of a run with other settings; repeat those, or run without --resume")
    return content["progress"]


def _run_fields(recipe: Recipe) -> dict[str, Any]:
    """What must agree for a run to go on: all but, where no step depends on it, the number of epochs."""
    fields = dataclasses.asdict(recipe)
    del fields["published"], fields["unspecified_details"], fields["source"]
    if (
        recipe.schedule == "constant" and not recipe.epochs_without_augmentation
    ):  # else each epoch depends on how many there are
        del fields["epochs"]
    return fields


def _ours(path: str | Path, content: Mapping[str, Any]) -> Checkpoint:
    try:
        recipe, state = _recipe(content["recipe"]), content["state"]
        if len(state) > MOST_WEIGHTS or len(recipe.widths) + len(recipe.convolutions) > MOST_WEIGHTS:
            raise ValueError("there are too many layers")
        with torch.device("meta"):  # shapes without memory: what the file declares may be absurd
            expected = models.build(recipe).state_dict()
        if {name: _form(value) for name, value in expected.items()} != {name: _form(state[name]) for name in state}:
            raise ValueError("the weights are not the recipe's")
        model = models.build(recipe)
        model.load_state_dict(state)
        record = json.loads(json.dumps(dict(content["record"])))
        numbers = [value for value in dataclasses.astuple(recipe.published) if value is not None]
        if not all(name.isprintable() for name in (recipe.name, recipe.dataset, record.get("dataset", ""))):
            raise ValueError("a name is more than a line")
        if not all(isinstance(value, float) for value in numbers):
            raise ValueError("a published number is none")
    except Exception as error:  # whatever a stranger's content leads to
        raise UserError(f"{path} is damaged: its parts do not make a network") from error
    return Checkpoint(_finite(path, model), recipe, record)


def _form(weights: Tensor) -> tuple[torch.Size, torch.dtype]:
    return weights.shape, weights.dtype


def _finite(path: str | Path, model: nn.Module) -> nn.Module:
    """The network, ready to predict. Raises UserError where it cannot: a loss that ran away leaves no numbers."""
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise UserError(f"{path} holds weights that are no numbers, or infinite; train again, more slowly")
    return model.eval()


def _recipe(fields: Mapping[str, Any]) -> Recipe:
    """A recipe from its fields in plain types."""
    fields = dict(fields)
    fields["published"] = Published(**fields["published"])
    return Recipe(**from_plain_types(fields))


def _bare(path: str | Path, state: Mapping[str, Tensor], mean: float | None, std: float | None) -> nn.Module:
    """An MLP from a state dict of linear layers (fc1.weight, layer_1.weight, 0.weight, ...), widths read off it."""
    weights = [value for value in state.values() if value.ndim == 2]
    biases = [value for value in state.values() if value.ndim == 1]
    widths = [weight.shape[1] for weight in weights] + [weight.shape[0] for weight in weights[-1:]]
    fits = len(weights) == len(biases) > 0 and len(weights) + len(biases) == len(state) <= MOST_WEIGHTS
    for weight, bias, outputs in zip(weights, biases, widths[1:], strict=False):
        fits &= weight.shape[0] == len(bias) == outputs > 0
        fits &= weight.is_floating_point() and bias.is_floating_point()
    if not fits or widths[0] != 784 or widths[-1] != 10:
        raise UserError(f"{path} is not a chain of linear layers from 784 pixels to 10 digits")
    if mean is None or std is None:
        raise UserError(f"{path} does not say how its pixels were normalised; give --mean and --std (0 and 1 for none)")
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise UserError(f"--std must be greater than zero, and both finite, not --mean {mean} --std {std}")
    model = models.MLP(widths, mean, std)
    with torch.no_grad():
        layers = [layer for layer in model if isinstance(layer, nn.Linear)]
        for layer, weight, bias in zip(layers, weights, biases, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return _finite(path, model)
