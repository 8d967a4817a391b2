"""The loop: forward, cross-entropy, backward, step."""

import functools
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from digit_recognizer import _fused_mlp, data, evaluation, optimizers, progress
from digit_recognizer.data import Digits, Split, augmentation, outliers
from digit_recognizer.evaluation import Scores
from digit_recognizer.progress import Learner
from digit_recognizer.recipes.recipe import Augmentation, Recipe
from digit_recognizer.runtime import distributed
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.sync_batch_norm import sync_batch_norm


def fit(
    model: nn.Module,
    digits: Digits,
    recipe: Recipe,
    seed: int = 0,
    *,
    quiet: bool = False,
    start: dict[str, Any] | None = None,
    after_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Train a model, on the device where it is, for the recipe's epochs; the last weights are kept.

    seed: of the order of the digits. start: an earlier state to go on from; after_epoch: called with the state (see
    progress) after each epoch. Nothing is saved here: the caller saves.
    Returns the model and its history, a row an epoch (see progress).
    """
    _check_batch_size(recipe.batch_size, len(digits.train.labels))
    quiet = quiet or not distributed.is_main_process()
    tqdm.set_lock(threading.RLock())  # its own is shared by processes: one that is killed would leave it behind
    device = next(model.parameters()).device
    train = Split(digits.train.images.to(device), digits.train.labels.to(device))
    held_out_name, held_out = digits.held_out
    learner = learner_of(model, recipe, seed)
    history = [] if start is None else progress.go_on(start, recipe.epochs, learner)
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        seconds, running = train_one_epoch(learner, train, recipe, epoch, quiet)
        asked = recipe.eval_every_epoch or epoch == recipe.epochs
        scores = evaluation.score(evaluation.predict(model, held_out.images), held_out.labels) if asked else None
        history.append(progress.row(epoch, seconds, running, held_out_name, scores))
        if not math.isfinite(running.loss + (scores.loss if scores else 0)):
            raise UserError(f"the loss of epoch {epoch} is no number any more; try a smaller learning rate")
        if after_epoch is not None:
            after_epoch(progress.state(learner, history))
        if not quiet:
            print(progress.line(history[-1], recipe.epochs), flush=True)
    return model, history


def learner_of(model: nn.Module, recipe: Recipe, seed: int) -> Learner:
    """All that the steps of a training change. seed: of the order of the digits."""
    return Learner(model, optimizers.make(model, recipe), torch.Generator().manual_seed(seed))


def _check_batch_size(size: int, digits: int) -> None:
    """Raise UserError where a batch is more than all digits, or less than one for each process."""
    if size > digits:
        raise UserError(f"the batch size {size:,} is larger than the {digits:,} training digits")
    if size < distributed.world_size():
        raise UserError(
            f"a batch of {size} cannot be shared by {distributed.world_size()} processes; "
            "take fewer of these or a larger --batch-size"
        )


def train_one_epoch(
    learner: Learner, train: Split, recipe: Recipe, epoch: int = 1, quiet: bool = True
) -> tuple[float, Scores]:
    """Every training digit once, in shuffled batches. Returns the seconds and the running scores.

    epoch: which of the recipe's it is, on which the learning rate and the augmentation may depend.
    """
    began = time.perf_counter()
    model, optimizer, generator = learner
    answers, truths = [], []
    gradients: Callable[..., Tensor]
    if _fused_mlp.fits(model, recipe):
        batches = _fused_mlp.batches(model, train, recipe.batch_size, generator)
        gradients = _fused_mlp.Gradients(model, recipe)
    else:
        strengths = (
            recipe.augmentation if epoch <= recipe.epochs - recipe.epochs_without_augmentation else Augmentation()
        )
        batches = _batches(train, recipe, strengths, generator)
        gradients = functools.partial(_by_autograd, model, recipe)
    model.train()
    with (
        sync_batch_norm(model),
        # No bar where nobody watches: in a file, a log or a stored notebook.
        tqdm(total=len(train.labels), desc=f"epoch {epoch}", unit="digit", leave=False, disable=quiet or None) as bar,
    ):
        for step, (inputs, labels, whole) in enumerate(batches):
            middle = (step + 0.5) * recipe.batch_size / len(train.labels)  # of the step, in epochs
            for group in optimizer.param_groups:
                group["lr"] = optimizers.learning_rate(recipe, min(1, (epoch - 1 + middle) / recipe.epochs))
            answers.append(gradients(inputs, labels, whole))
            distributed.all_reduce_gradients(model)
            optimizers.step(optimizer)
            truths.append(labels)
            if bar.update(whole):  # true when it is drawn anew; reading the numbers each time would cost more
                now = _running(answers[-1:], truths[-1:])
                bar.set_postfix_str(f"batch loss {now.mean_loss:.4f}, accuracy {now.accuracy:.2%}", refresh=False)
    scores = _running(answers, truths)
    scores = Scores(*map(sum, zip(*distributed.all_gather(scores), strict=True)))
    return time.perf_counter() - began, scores


def _batches(
    train: Split, recipe: Recipe, strengths: Augmentation, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """This process's share of each batch as the network sees it, non-digits included, and its labels.

    With them how many digits the whole batch has.
    """
    for images, labels in data.batches(train, recipe.batch_size, generator):
        # Each process augments the whole batch, so that the generators stay alike, and then takes its share.
        whole, pixels = len(labels), augmentation.augment(data.to_pixels(images), strengths, generator, labels)
        if recipe.outlier_fraction:
            pixels, labels = outliers.beside(pixels, labels, recipe, generator)
        yield distributed.shard(pixels), distributed.shard(labels), whole


def _by_autograd(model: nn.Module, recipe: Recipe, pixels: Tensor, labels: Tensor, whole: int) -> Tensor:
    """Give each weight the gradient of batch_loss, whatever the network; returns the logits, (n, 10)."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        logits = model(pixels)
    model.zero_grad()
    batch_loss(logits.float(), labels, whole, recipe.label_smoothing).backward()
    return logits.detach()


def _running(answers: list[Tensor], truths: list[Tensor]) -> Scores:
    """Scores of what was answered while the weights moved, digits only."""
    logits, labels = torch.cat(answers).float().cpu(), torch.cat(truths).cpu()
    digits = labels != outliers.LABEL
    if not digits.any():  # the share of one of many processes
        return Scores(0, 0, 0.0)
    return evaluation.score(logits[digits], labels[digits])


def batch_loss(logits: Tensor, labels: Tensor, whole: int, label_smoothing: float) -> Tensor:
    """A share's part of the mean loss over a whole batch of that many digits; the parts add up to it. In nats.

    Of what is no digit all ten are to be equally likely.
    """
    if len(labels) == whole:  # one process, and digits only
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    of_digits = F.cross_entropy(
        logits, labels, label_smoothing=label_smoothing, ignore_index=outliers.LABEL, reduction="sum"
    )
    of_others = -(logits.log_softmax(1).mean(1) * (labels == outliers.LABEL)).sum()
    return (of_digits + of_others) / whole
