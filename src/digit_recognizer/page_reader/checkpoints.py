"""A trained PageNet as a file, and back. Weights are kept in float16: half the size, and the same answers."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from digit_recognizer.page_reader.network import PageNet
from digit_recognizer.recipes.page_reader import NAME, PageRecipe
from digit_recognizer.runtime import model_file
from digit_recognizer.runtime.errors import UserError


def round_weights(model: PageNet) -> PageNet:
    """The network with the weights that a file will hold: in float16 and back."""
    return model.half().float()


def save(path: str | Path, model: PageNet, recipe: PageRecipe, record: dict[str, Any]) -> None:
    """Write a network, its recipe and the record of its run, atomically. Raises UserError; the old file survives."""
    state = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    model_file.write(path, {NAME: dataclasses.asdict(recipe), "state": state, "record": json.loads(json.dumps(record))})


def holds_page_reader(path: str | Path) -> bool:
    """Whether a file holds a PageNet; False also where it cannot be read."""
    try:
        content = model_file.read(path)
    except UserError:
        return False
    return model_file.is_ours(content) and NAME in content and "state" in content


def load(path: str | Path) -> tuple[PageNet, dict[str, Any]]:
    """Read a network, ready to find digits, and the record of its run. Raises UserError where a file holds none."""
    content = model_file.read(path)
    try:
        fields = dict(content[NAME])
        model = PageNet(PageRecipe(**{**fields, "widths": tuple(fields["widths"])}))
        state = {
            name: value.float() if value.is_floating_point() else value for name, value in content["state"].items()
        }
        model.load_state_dict(state)
        if not all(value.isfinite().all() for value in model.state_dict().values()):
            raise ValueError("weights that are not finite")
        record = dict(content["record"])
    except Exception as error:  # whatever a stranger's content leads to
        raise UserError(
            f"{path} is not a page reader of this project, or is damaged; take another copy of it"
        ) from error
    return model.eval().to(memory_format=torch.channels_last), record


def save_progress(path: str | Path, recipe: PageRecipe, seed: int, progress: dict[str, Any]) -> None:
    """Write the state from which training resumes (see TrainState.state_dict), atomically."""
    model_file.write(path, {"run": {**recipe.settings, "seed": seed}, "progress": progress})


def load_progress(path: str | Path, recipe: PageRecipe, seed: int) -> dict[str, Any]:
    """What save_progress wrote. Raises UserError where it is absent, damaged or of another run."""
    if not Path(path).exists():
        raise UserError(f"there is nothing to resume: {path} does not exist; run without --resume")
    content = model_file.read(path)
    if not model_file.is_ours(content) or content.get("run") != {**recipe.settings, "seed": seed}:
        raise UserError(f"{path} is of a run with other settings; repeat those, or run without --resume")
    return content["progress"]
