"""A trained network as a file, and back. A file is data: nothing in it is ever run.

Our files hold plain types only: format number, recipe, weights, the record of the run, and a checksum of it all. State
dicts of linear layers by other programs are read too, bare or nested as training scripts and Lightning save them, and
safetensors files, as `digits export` writes them.
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
from digit_recognizer.recipes import page_reader
from digit_recognizer.recipes.recipe import Published, Recipe, from_plain_types
from digit_recognizer.runtime import model_file
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.packages import missing_package

MAX_TENSORS = 1000  # of a network
PRETRAINED = Path(__file__).parent / "pretrained"
NESTED = ("state_dict", "model_state_dict", "model")  # keys under which other programs keep a state dict


@dataclass(frozen=True)
class Checkpoint:
    """A network read from a file. recipe and record are None where the file is another program's state dict."""

    model: nn.Module
    recipe: Recipe | None
    record: dict[str, Any] | None


def save(path: str | Path, model: nn.Module, recipe: Recipe, record: dict[str, Any]) -> None:
    """Write a network, its recipe and the record of its run, atomically. Raises UserError; the old file survives.

    record: what JSON can hold, else TypeError, before anything is written.
    """
    record = json.loads(json.dumps(record))  # plain types only: torch.save would write more than is read again
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    model_file.write(path, {"recipe": dataclasses.asdict(recipe), "state": state, "record": record})


def load(path: str | Path, mean: float | None = None, std: float | None = None) -> Checkpoint:
    """Read a network and rebuild it from the file alone.

    mean, std: of the pixels in [0, 1], with which a state dict of another program was trained; our files hold theirs.
    Raises UserError for a file that holds neither a network of ours nor linear layers, or is not what was saved.
    """
    is_exported = Path(path).suffix == ".safetensors"
    content = _read_safetensors(path) if is_exported else model_file.read(path)
    if "recipe" in content if is_exported else model_file.is_ours(content):
        if mean is not None or std is not None:
            raise UserError(f"{path} holds its own normalisation; leave out --mean and --std")
        return _rebuild(path, content)
    return Checkpoint(_from_state_dict(path, _state_dict_in(path, content), mean, std), None, None)


def pretrained(recipe: str) -> Checkpoint:
    """A network that ships with this package; pretrained/README.md has their model cards. Needs no MNIST.

    Raises UserError, naming those that ship, for another.
    """
    path = PRETRAINED / f"{recipe}.pth"
    if not path.exists():
        names = ", ".join(sorted(other.stem for other in PRETRAINED.glob("*.pth")))
        raise UserError(f"no pretrained network '{recipe}'; there are {names}")
    return load(path)


def load_model(path: str | Path, mean: float | None = None, std: float | None = None) -> nn.Module:
    """The network of a file, ready to predict; see load."""
    return load(path, mean, std).model


def save_progress(path: str | Path, recipe: Recipe, dataset: str, seed: int, progress: dict[str, Any]) -> None:
    """Write the state from which training resumes (see TrainState.state_dict), atomically."""
    run = {"recipe": _run_settings(recipe), "dataset": dataset, "seed": seed}
    model_file.write(path, {"run": run, "progress": progress})


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
    if not model_file.is_ours(content) or "progress" not in content:
        raise UserError(f"{path} is not a progress file of this version; delete it and run without --resume")
    if content.get("run") != {"recipe": _run_settings(recipe), "dataset": dataset, "seed": seed}:
        raise UserError(f"{path} is of a run with other settings; repeat those, or run without --resume")
    return content["progress"]


def _run_settings(recipe: Recipe) -> dict[str, Any]:
    """What must agree for a run to resume: all but, where no step depends on it, the number of epochs."""
    fields = {"name": recipe.name, **recipe.settings}
    if recipe.schedule == "constant" and not recipe.epochs_without_augmentation:
        del fields["epochs"]
    return fields


def _rebuild(path: str | Path, content: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint in a file of ours. Raises UserError where its parts do not make a network."""
    if page_reader.NAME in content:
        raise UserError(f"{path} finds digits on pages; name a network of single digits, such as cnn_best")
    try:
        recipe, state = _recipe(content["recipe"]), content["state"]
        if len(state) > MAX_TENSORS or len(recipe.widths) + len(recipe.convolutions) > MAX_TENSORS:
            raise ValueError("there are too many layers")
        with torch.device("meta"):  # shapes without memory: the file may declare absurd ones
            expected = models.build(recipe).state_dict()
        shapes = [{name: (value.shape, value.dtype) for name, value in of.items()} for of in (expected, state)]
        if shapes[0] != shapes[1]:
            raise ValueError("the weights are not the recipe's")
        model = models.build(recipe)
        model.load_state_dict(state)
        record = json.loads(json.dumps(dict(content["record"])))
        if not all(name.isprintable() for name in (recipe.name, recipe.dataset, record.get("dataset", ""))):
            raise ValueError("a name is more than a line")
        if not all(isinstance(value, float | None) for value in dataclasses.astuple(recipe.published)):
            raise ValueError("a published value is not a number")
    except Exception as error:  # whatever a stranger's content leads to
        raise UserError(f"{path} is damaged: its parts do not make a network") from error
    return Checkpoint(_ready(path, model), recipe, record)


def _read_safetensors(path: str | Path) -> Mapping[str, Any]:
    """What `digits export` wrote, as in a file of ours; of another program's file the weights alone."""
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise missing_package(error) from error
    try:
        with safe_open(path, "pt") as file:
            state, about = {name: file.get_tensor(name) for name in list(file.keys())}, file.metadata() or {}
        if "recipe_fields" not in about:
            return state
        record = {"dataset": about["dataset"], "calibration": json.loads(about["calibration"])}
        return {"recipe": json.loads(about["recipe_fields"]), "state": state, "record": record}
    except Exception as error:  # whatever a stranger's content leads to
        raise UserError(f"{path} is no safetensors file of a network, or is damaged; export it again") from error


def _recipe(fields: Mapping[str, Any]) -> Recipe:
    return Recipe(**from_plain_types({**fields, "published": Published(**fields["published"])}))


def _ready(path: str | Path, model: nn.Module) -> nn.Module:
    """The network, ready to predict. Raises UserError where a weight is not finite, as after a loss that diverged."""
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise UserError(f"{path} holds weights that are not finite; train again with a smaller learning rate")
    return model.eval()


def _state_dict_in(path: str | Path, content: Any) -> Mapping[str, Tensor]:
    """Another program's state dict, bare or nested. Raises UserError where there is none."""
    candidates = [content, *(content[key] for key in NESTED if key in content)] if isinstance(content, Mapping) else []
    for each in candidates:
        if isinstance(each, Mapping) and each and all(isinstance(value, Tensor) for value in each.values()):
            return each
    raise UserError(
        f"{path} holds neither a network of this project nor a state dict of linear layers, "
        f"bare or under {', '.join(NESTED)}; save one with torch.save(model.state_dict(), path)"
    )


def _from_state_dict(path: str | Path, state: Mapping[str, Tensor], mean: float | None, std: float | None) -> nn.Module:
    """An MLP from a state dict of linear layers (fc1.weight, layer_1.weight, 0.weight, ...), widths from its shapes."""
    weights = [value for value in state.values() if value.ndim == 2]
    biases = [value for value in state.values() if value.ndim == 1]
    widths = [weight.shape[1] for weight in weights] + [weight.shape[0] for weight in weights[-1:]]
    fits = len(weights) == len(biases) > 0 and len(weights) + len(biases) == len(state) <= MAX_TENSORS
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
    return _ready(path, model)
