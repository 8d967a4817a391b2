"""Training of PageNet: targets of synthetic pages, the loss, the loop."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from digit_recognizer.data import pages
from digit_recognizer.data.digits import Split
from digit_recognizer.page_reader.maps import STRIDE, Maps
from digit_recognizer.page_reader.network import PageNet
from digit_recognizer.recipes.page_reader import PageRecipe
from digit_recognizer.runtime.device import training_precision
from digit_recognizer.runtime.errors import UserError

MIN_SIZE, MAX_SIZE = 10, 92  # pixels, longest side of what is to be found
TOO_SMALL, TOO_LARGE = 8, 112  # beyond these nothing is to be found; between, the answer is left open
LOSSES = ("centre", "class", "offset", "size")
WEIGHTS = torch.tensor([1, 1.5, 0.5, 0.5])  # of the losses in their sum
CPU = torch.device("cpu")
WARM_UP = 0.1  # fraction of the steps before the highest learning rate
MAX_GRADIENT = 10  # norm, to which larger ones are cut
AVERAGING = 0.999  # of the running mean of the weights that each step keeps
SPREAD = 0.11  # of a glyph's width and height: the standard deviation of its mark on the map of centres


class Targets(NamedTuple):
    """Of one page or a batch, in cells; see Maps.

    centre: float32, 1 at centres, less around them. weight: of each cell in the loss of centres, 0 or 1.
    label: int64, -1 where no glyph's centre is near. offset, size: float32 (2, h, w).
    """

    centre: Tensor
    weight: Tensor
    label: Tensor
    offset: Tensor
    size: Tensor


def make_targets(page: pages.Page) -> Targets:
    """What PageNet is to say about a page."""
    cells = pages.SIDE // STRIDE
    middles = (np.arange(cells, dtype=np.float32) + 0.5) * STRIDE
    centre, weight = np.zeros((cells, cells), np.float32), np.ones((cells, cells), np.float32)
    label = np.full((cells, cells), -1, np.int64)
    offset, size = np.zeros((2, cells, cells), np.float32), np.zeros((2, cells, cells), np.float32)
    for (left, top, right, bottom), digit, visible in zip(page.boxes, page.labels, page.visible, strict=True):
        width, height = right - left, bottom - top
        longest = max(width, height)
        x, y = (left + right) / 2, (top + bottom) / 2
        if not visible or not MIN_SIZE <= longest <= MAX_SIZE:
            if visible and not TOO_SMALL <= longest <= TOO_LARGE:
                continue
            first, last = (int(top / STRIDE), int(left / STRIDE)), (int(bottom / STRIDE) + 1, int(right / STRIDE) + 1)
            weight[first[0] : last[0], first[1] : last[1]] = 0
            continue
        spreads = (max(0.8 * STRIDE, SPREAD * side) for side in (width, height))
        across, down = (
            np.exp(-(((middles - at) / spread) ** 2) / 2) for at, spread in zip((x, y), spreads, strict=True)
        )
        mark = down[:, None] * across[None]
        row, column = min(int(y / STRIDE), cells - 1), min(int(x / STRIDE), cells - 1)
        mark[row, column] = 1
        here = (mark > 0.45) & (mark > centre)
        label[here] = digit
        offset[:, here] = np.stack(np.broadcast_arrays((x - middles)[None], (y - middles)[:, None]))[:, here] / STRIDE
        size[:, here] = np.log(np.maximum([[width], [height]], 1) / STRIDE)
        centre = np.maximum(centre, mark)
    weight[label >= 0] = 1
    return Targets(*(torch.from_numpy(part) for part in (centre, weight, label, offset, size)))


class Pages(Dataset):
    """Synthetic pages with their targets, each made when it is asked for."""

    def __init__(self, source: Split, seed: int, indices: range) -> None:
        self.source, self.seed, self.indices = source, seed, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[Tensor, Targets]:
        page = pages.make_page(self.source, self.seed, self.indices[place])
        return torch.tensor(page.image)[None], make_targets(page)


def loss(maps: Maps, targets: Targets) -> Tensor:
    """The four LOSSES, each per glyph: float32 (4,).

    Of centres the penalty-reduced focal loss (Law and Deng 2018; Zhou, Wang and Krähenbühl 2019), of classes the
    cross-entropy, of offsets and sizes the L1 distance.
    """
    logits = maps.centre[:, 0].float()
    is_centre = targets.centre == 1
    count = is_centre.sum().clamp(min=1)
    probability = logits.sigmoid()
    at_centres = -((1 - probability) ** 2 * F.logsigmoid(logits))[is_centre].sum()
    elsewhere = -((1 - targets.centre) ** 4 * probability**2 * F.logsigmoid(-logits) * targets.weight)[~is_centre].sum()
    near = targets.label >= 0
    weights = targets.centre[near]
    classes = F.cross_entropy(maps.classes.permute(0, 2, 3, 1)[near].float(), targets.label[near], reduction="none")
    total = weights.sum().clamp(min=1)
    parts = []
    for name in ("offset", "size"):
        predicted, wanted = (getattr(each, name).permute(0, 2, 3, 1)[near].float() for each in (maps, targets))
        parts.append((F.l1_loss(predicted, wanted, reduction="none").sum(1) * weights).sum() / total)
    return torch.stack([(at_centres + elsewhere) / count, (classes * weights).sum() / total, *parts])


@dataclass
class TrainState:
    """All that training changes. averaged: the running mean of the model's weights, which is what reads in the end."""

    model: PageNet
    averaged: PageNet
    optimizer: torch.optim.Optimizer
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def create(cls, recipe: PageRecipe, seed: int, device: torch.device) -> "TrainState":
        """The state before the first epoch."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = PageNet(recipe).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
        return cls(model, copy.deepcopy(model).eval(), optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later process needs to resume."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "averaged", "optimizer")}
        return {**parts, "history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from an earlier state. Raises UserError where it does not fit."""
        try:
            for name in ("model", "averaged", "optimizer"):
                getattr(self, name).load_state_dict(state[name])
            self.history = list(state["history"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                "the progress file does not fit this training; delete it and run without --resume"
            ) from error


def fit(
    recipe: PageRecipe,
    source: Split,
    seed: int = 0,
    *,
    device: torch.device = CPU,
    workers: int = 1,
    quiet: bool = False,
    resume: dict[str, Any] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[PageNet, list[dict[str, float]]]:
    """Train on pages that are made from the source's digits. Returns the averaged network, on the CPU, and the metrics
    of each epoch.

    workers: processes that make pages beside this one; the weights do not depend on them. resume: the state_dict of an
    earlier state. on_epoch: called with the state_dict after each epoch.
    """
    state = TrainState.create(recipe, seed, device)
    pages.render_letters()  # before there are other processes, which then need not
    if resume is not None:
        state.load_state_dict(resume)
    for epoch in range(len(state.history), recipe.epochs):
        state.history.append(train_one_epoch(state, recipe, source, seed, epoch, workers, quiet))
        if not math.isfinite(sum(state.history[-1].values())):
            raise UserError(f"the loss of epoch {epoch + 1} is not finite any more; try a smaller learning rate")
        if on_epoch is not None:
            on_epoch(state.state_dict())
        if not quiet:
            print(format_metrics(state.history[-1], recipe), flush=True)
    return state.averaged.cpu(), state.history


def train_one_epoch(
    state: TrainState, recipe: PageRecipe, source: Split, seed: int, epoch: int, workers: int, quiet: bool
) -> dict[str, float]:
    """The next pages, each once. Returns the epoch's metrics: the mean losses while the weights moved, and seconds."""
    began, steps = time.perf_counter(), recipe.steps_per_epoch
    count = steps * recipe.batch_size
    indices = range(epoch * count, (epoch + 1) * count)
    loader = DataLoader(
        Pages(source, seed, indices), recipe.batch_size, num_workers=workers, worker_init_fn=_one_thread
    )
    device = next(state.model.parameters()).device
    precision = training_precision(recipe.precision, device)
    weights, total = WEIGHTS.to(device), torch.zeros(4, device=device)
    state.model.train()
    with tqdm(total=count, desc=f"epoch {epoch + 1}", unit="page", leave=False, disable=quiet or None) as bar:
        for step, (images, targets) in enumerate(loader, start=epoch * steps):
            images, targets = images.to(device), Targets(*(part.to(device) for part in targets))
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                maps = state.model(images.float().div_(255))
            losses = loss(maps, targets)
            state.optimizer.param_groups[0]["lr"] = learning_rate(recipe, (step + 0.5) / (steps * recipe.epochs))
            state.optimizer.zero_grad()
            (losses * weights).sum().backward()
            nn.utils.clip_grad_norm_(state.model.parameters(), MAX_GRADIENT)
            state.optimizer.step()
            _average(state.averaged, state.model, min(AVERAGING, step / (step + 10)))
            total += losses.detach()
            bar.update(len(images))
    means = dict(zip(LOSSES, (total / steps).tolist(), strict=True))
    return {"epoch": epoch + 1, **means, "seconds": time.perf_counter() - began}


def learning_rate(recipe: PageRecipe, progress: float) -> float:
    """The learning rate where that fraction of the training, 0 to 1, is done."""
    if progress < WARM_UP:
        return recipe.learning_rate * progress / WARM_UP
    return recipe.learning_rate * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def format_metrics(metrics: dict[str, float], recipe: PageRecipe) -> str:
    """The metrics of an epoch as one line of text."""
    losses = "  ".join(f"{name} {metrics[name]:.3f}" for name in LOSSES)
    return f"epoch {metrics['epoch']}/{recipe.epochs}  loss: {losses}  ({metrics['seconds']:.0f} s)"


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


@torch.no_grad()
def _average(averaged: nn.Module, model: nn.Module, keep: float) -> None:
    """Move the running mean of weights, and of batch statistics, towards the model's."""
    for mean, value in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - keep)
        else:
            mean.copy_(value)
