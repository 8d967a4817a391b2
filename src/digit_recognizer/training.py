"""The training loop: forward, loss, zero_grad, backward, step; its optimiser and learning rate; and its state."""

import copy
import functools
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from digit_recognizer import data, evaluation, fixed_filters, models
from digit_recognizer._captured_step import CapturedStep
from digit_recognizer._fused_mlp import FusedAdam, FusedMLP
from digit_recognizer.data import Digits, Split
from digit_recognizer.data.augmentation import OUTLIER_LABEL, augment_batch
from digit_recognizer.evaluation import Scores
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime import distributed
from digit_recognizer.runtime.device import training_precision
from digit_recognizer.runtime.errors import UserError

WARM_UP = 0.2  # fraction of the steps before the peak of a triangular schedule
DECAY = 1000  # by which an exponential schedule divides the learning rate in all

Metrics = dict[str, Any]  # of an epoch; see epoch_metrics
GradientFunction = Callable[[Tensor, "CrossEntropy"], Tensor]  # from pixels and loss to the logits, (n, 10)


@dataclass
class TrainState:
    """All that training changes: the model, its optimiser, the generator of all random numbers, metrics by epoch.

    forward_backward: what gives the model's parameters their gradients; see gradient_function.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    forward_backward: GradientFunction
    history: list[Metrics] = field(default_factory=list)

    @classmethod
    def create(cls, model: nn.Module, recipe: Recipe, seed: int) -> "TrainState":
        """The state before the first epoch. seed: of the order of the digits and of augmentation."""
        generator = torch.Generator().manual_seed(seed)
        return cls(model, make_optimizer(model, recipe), generator, gradient_function(model, recipe))

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later process needs to resume."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "history": self.history,
        }

    def load_state_dict(self, state: dict[str, Any], epochs: int) -> None:
        """Resume from an earlier state, which is not changed.

        Raises UserError where the state does not fit, or has more than that many epochs.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # else both would share their tensors
            self.generator.set_state(state["generator"])
            self.history = list(state["history"])
            for metrics in self.history:
                format_metrics(metrics, epochs)  # fails where a field is missing or of another type
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(
                "the progress file does not fit this training; delete it and run without --resume"
            ) from error
        if len(self.history) > epochs:
            raise UserError(
                f"{len(self.history)} epochs are done, more than the {epochs} asked for; "
                f"give --epochs {len(self.history)} or more, or run without --resume"
            )


def fit(
    model: nn.Module,
    digits: Digits,
    recipe: Recipe,
    seed: int = 0,
    *,
    quiet: bool = False,
    resume: dict[str, Any] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> tuple[nn.Module, list[Metrics]]:
    """Train a model, on the device where it is, for the recipe's epochs; the last weights are kept.

    resume: the state_dict of an earlier TrainState. on_epoch: called with the state_dict after each epoch. on_step:
    called before each step with the batch size; it may wait, or raise to stop. Nothing is saved: the caller saves.
    Returns the model and its history, the metrics of each epoch.
    """
    _validate_batch_size(recipe, len(digits.train.labels))
    quiet = quiet or not distributed.is_main_process()
    tqdm.set_lock(threading.RLock())  # its own is shared by processes: a killed one would leave it behind
    device = next(model.parameters()).device
    train = Split(digits.train.images.to(device), digits.train.labels.to(device))
    held_out_name, held_out = digits.held_out
    state = TrainState.create(model, recipe, seed)
    if resume is not None:
        state.load_state_dict(resume, recipe.epochs)
    began = time.perf_counter()
    if resume is None:
        fixed_filters.set_filters(model, train)
    train = fixed_filters.apply_fixed(model, train, getattr(torch, training_precision(recipe.precision, device)))
    preparing = time.perf_counter() - began  # filters and maps; counts as part of the next epoch
    for epoch in range(len(state.history) + 1, recipe.epochs + 1):
        with distributed.sync_batch_norm(model):
            seconds, running = train_one_epoch(state, train, recipe, quiet=quiet, on_step=on_step)
        scores = None
        if recipe.eval_every_epoch or epoch == recipe.epochs:
            scores = evaluation.score(evaluation.predict(model, held_out.images), held_out.labels)
        state.history.append(epoch_metrics(epoch, preparing + seconds, running, held_out_name, scores))
        preparing = 0.0
        if not math.isfinite(running.loss + (scores.loss if scores else 0)):
            raise UserError(f"the loss of epoch {epoch} is not finite any more; try a smaller learning rate")
        if on_epoch is not None:
            on_epoch(state.state_dict())
        if not quiet:
            print(format_metrics(state.history[-1], recipe.epochs), flush=True)
    return model, state.history


def train_one_epoch(
    state: TrainState,
    train: Split,
    recipe: Recipe,
    *,
    quiet: bool = True,
    on_step: Callable[[int], None] | None = None,
) -> tuple[float, Scores]:
    """Every training digit once, in shuffled batches. Returns the seconds, and the scores while the weights moved.

    train: images, or where the model has fixed filters, their maps.
    """
    began, epoch = time.perf_counter(), len(state.history) + 1
    model, optimizer, generator = state.model, state.optimizer, state.generator
    # One tensor for all logits: a small one for each step would fragment the heap (docs/speed.md, Memory).
    total = len(train.labels)
    rows, done = 2 * total, 0  # outliers are fewer than digits
    all_logits, all_labels = train.images.new_empty((rows, 10), dtype=torch.float32), train.labels.new_empty(rows)
    model.train()
    # There is no bar where nobody watches: in a file, a log or a stored notebook.
    with tqdm(total=total, desc=f"epoch {epoch}", unit="digit", leave=False, disable=quiet or None) as bar:
        for step, (images, labels) in enumerate(data.batches(train, recipe.batch_size, generator)):
            batch_size = len(labels)
            if on_step is not None:
                on_step(batch_size)
            # Each process augments the whole batch, so that all generators stay alike, and then takes its share.
            pixels = images if images.is_floating_point() else data.to_pixels(images)
            pixels, labels = augment_batch(pixels, labels, recipe, epoch, generator)
            pixels, labels = distributed.shard(pixels), distributed.shard(labels)
            progress = (epoch - 1 + (step + 0.5) * recipe.batch_size / total) / recipe.epochs
            set_learning_rate(optimizer, recipe, progress)
            logits = state.forward_backward(pixels, CrossEntropy(labels, batch_size, recipe.label_smoothing))
            distributed.all_reduce_gradients(model)
            optimizer.step()
            start, done = done, done + len(labels)
            all_logits[start:done], all_labels[start:done] = logits, labels
            if bar.update(batch_size):  # true when it is drawn anew; reading the numbers at each step would cost more
                now = _running_scores(logits, labels)
                bar.set_postfix_str(f"batch loss {now.mean_loss:.4f}, accuracy {now.accuracy:.2%}", refresh=False)
    scores = _running_scores(all_logits[:done], all_labels[:done])
    correct, count, loss = distributed.all_reduce(torch.tensor(scores, dtype=torch.float64)).tolist()
    return time.perf_counter() - began, Scores(int(correct), int(count), loss)


def gradient_function(model: nn.Module, recipe: Recipe) -> GradientFunction:
    """What computes the gradients of a batch: autograd, or for plain MLPs in float32 the same bits in less time.

    On a graphics card the launches of either are recorded once. Several processes, which wait for each other within a
    step, launch them one by one.
    """
    device = next(model.parameters()).device
    precision = training_precision(recipe.precision, device)
    _, model = models.split_fixed(model)
    fused = precision == "float32" and FusedMLP.supports(model)
    function = FusedMLP(model) if fused else functools.partial(_forward_backward, model, precision)
    return CapturedStep(model, function) if device.type == "cuda" and distributed.world_size() == 1 else function


def _forward_backward(model: nn.Module, precision: str, pixels: Tensor, loss_of: "CrossEntropy") -> Tensor:
    """Forward, loss, zero_grad, backward. Returns the logits, (n, 10)."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        logits = model(pixels)
    loss = loss_of(logits.float())
    model.zero_grad()
    loss.backward()
    return logits.detach()


class CrossEntropy(NamedTuple):
    """Cross-entropy in nats, averaged over a whole batch; the shares of several processes add up to it.

    labels: int64 (n,), of this process's share, OUTLIER_LABEL for outliers, whose ten probabilities are to be equal; or
    probabilities, float32 (n, 10), which gradient does not take.
    count: of the digits in the whole batch. smoothing: of the labels, see torch.nn.CrossEntropyLoss.
    """

    labels: Tensor
    count: int  # type: ignore[assignment]  # tuple.count is not needed
    smoothing: float

    def __call__(self, logits: Tensor) -> Tensor:
        """The loss, a scalar. logits: (n, 10)."""
        labels, smoothing = self.labels, self.smoothing
        if len(labels) == self.count:  # one process, and digits only
            return F.cross_entropy(logits, labels, label_smoothing=smoothing)
        digits = F.cross_entropy(logits, labels, label_smoothing=smoothing, ignore_index=OUTLIER_LABEL, reduction="sum")
        outliers = -(logits.log_softmax(1).mean(1) * (labels == OUTLIER_LABEL)).sum()
        return (digits + outliers) / self.count

    def gradient(self, logits: Tensor) -> Tensor:
        """Its gradient by the logits, (softmax - targets) / count, which autograd would compute too, in more time."""
        targets = _target_probabilities(self.smoothing, logits.device)[self.labels]
        # Autograd's own kernel: exp() of log_softmax differs from it in the last bit.
        return torch._log_softmax_backward_data(targets.div_(-self.count), logits.log_softmax(1), 1, logits.dtype)


@functools.cache
def _target_probabilities(smoothing: float, device: torch.device) -> Tensor:
    """What the ten probabilities are to be: a row for each label, and the last, label -1, for outliers."""
    table = torch.full((11, 10), smoothing / 10, device=device)
    table[:10].fill_diagonal_(1 - smoothing + smoothing / 10)
    table[OUTLIER_LABEL] = 0.1
    return table


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser; fused kernels do the same arithmetic in one pass over the memory."""
    device = next(model.parameters()).device.type
    parameters = [weights for weights in model.parameters() if weights.requires_grad]
    shared: dict[str, Any] = {"lr": recipe.learning_rate, "fused": device in ("cpu", "cuda")}
    if recipe.optimizer == "sgd":
        shared |= {"weight_decay": recipe.weight_decay, "momentum": recipe.momentum, "nesterov": recipe.nesterov}
        return torch.optim.SGD(parameters, **shared)
    if recipe.weight_decay:
        return torch.optim.AdamW(parameters, weight_decay=recipe.weight_decay, **shared)
    return (FusedAdam if device == "cpu" else torch.optim.Adam)(parameters, **shared)


def set_learning_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, progress: float) -> None:
    """Set the learning rate of the step in whose middle that fraction of the training, 0 to 1, is done."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, min(1, progress))


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate where that fraction of the training, 0 to 1, is done."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule == "exponential":
        return recipe.learning_rate * DECAY**-progress
    return recipe.learning_rate * triangle(progress)


def triangle(progress: float) -> float:
    """The part of the peak of a triangular schedule, 0 to 1, where that fraction of the training is done."""
    return min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))


def epoch_metrics(epoch: int, seconds: float, running: Scores, held_out: str, scores: Scores | None) -> Metrics:
    """The metrics of an epoch, in plain types.

    train_loss (nats per digit) and train_accuracy (fraction) are running values, counted while the weights moved.
    held_out_loss and held_out_accuracy were measured after the epoch on the part that held_out names, "validation" or
    "test", to look at: they choose nothing. None where it was not scored. seconds: of training, without scoring; in the
    first epoch with the filters and maps of a fixed layer.
    """
    return {
        "epoch": epoch,
        "train_loss": running.mean_loss,
        "train_accuracy": running.accuracy,
        "held_out": held_out,
        "held_out_loss": scores and scores.mean_loss,
        "held_out_accuracy": scores and scores.accuracy,
        "seconds": seconds,
    }


def format_metrics(metrics: Metrics, epochs: int) -> str:
    """The metrics of an epoch as one line of text."""
    text = f"epoch {metrics['epoch']:{len(str(epochs))}}/{epochs}"
    text += f"  train loss {metrics['train_loss']:.4f}  accuracy {metrics['train_accuracy']:.2%}"
    if metrics["held_out_loss"] is not None:
        held_out = metrics["held_out"]
        text += f"  {held_out} loss {metrics['held_out_loss']:.4f}  accuracy {metrics['held_out_accuracy']:.2%}"
    return text


def _validate_batch_size(recipe: Recipe, digits: int) -> None:
    """Raise UserError where a batch is larger than the training set, too small for the processes, or one digit."""
    size = recipe.batch_size
    if size > digits:
        raise UserError(f"the batch size {size:,} is larger than the {digits:,} training digits")
    if size < distributed.world_size():
        raise UserError(
            f"a batch of {size} cannot be shared by {distributed.world_size()} processes; "
            "take fewer of these or a larger --batch-size"
        )
    if recipe.batch_norm and len(recipe.widths) > 2 and (size == 1 or digits % size == 1):
        raise UserError(
            f"{digits:,} digits in batches of {size:,} leave a batch of one, which batch normalisation cannot take; "
            "take another --batch-size"
        )


def _running_scores(logits: Tensor, labels: Tensor) -> Scores:
    """Scores of logits computed while the weights moved, without outliers."""
    logits, labels = logits.float().cpu(), labels.cpu()
    digits = labels != OUTLIER_LABEL
    if not digits.any():  # one process of many may have got outliers only
        return Scores(0, 0, 0.0)
    return evaluation.score(logits[digits], labels[digits])
