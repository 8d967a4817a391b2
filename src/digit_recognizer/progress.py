"""What training keeps of each epoch: a row of its history, which is shown as a line, and the state to go on from."""

import copy
from typing import Any, NamedTuple

import torch
from torch import nn

from digit_recognizer.evaluation import Scores
from digit_recognizer.runtime.errors import UserError


class Learner(NamedTuple):
    """A network, what moves its weights, and what its batches are drawn from."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator


def row(epoch: int, seconds: float, running: Scores, held_out: str, scores: Scores | None) -> dict[str, Any]:
    """What is kept of an epoch, in plain types.

    train_loss (nats per digit) and train_accuracy (fraction) are running values, counted while the weights moved;
    held_out_loss and held_out_accuracy were measured after the epoch, for the curve only: they choose nothing; None
    where they were not.
    held_out says on which part, "validation" or "test"; seconds are of training alone.
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


def line(of: dict[str, Any], epochs: int) -> str:
    """A row of the history as one line of text."""
    text = f"epoch {of['epoch']:{len(str(epochs))}}/{epochs}"
    text += f"  train loss {of['train_loss']:.4f}  accuracy {of['train_accuracy']:.2%}"
    if of["held_out_loss"] is not None:
        text += f"  {of['held_out']} loss {of['held_out_loss']:.4f}  accuracy {of['held_out_accuracy']:.2%}"
    return text


def state(learner: Learner, history: list[dict[str, Any]]) -> dict[str, Any]:
    """What training needs to go on from here."""
    return {
        "model": learner.model.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "generator": learner.generator.get_state(),
        "history": history,
    }


def go_on(start: dict[str, Any], epochs: int, learner: Learner) -> list[dict[str, Any]]:
    """Put a learner in an earlier state, which is left as it was. Returns its history.

    Raises UserError where the state does not fit, or has more epochs than are asked for.
    """
    try:
        learner.model.load_state_dict(start["model"])
        learner.optimizer.load_state_dict(copy.deepcopy(start["optimizer"]))  # else it would go on with start's own
        learner.generator.set_state(start["generator"])
        history = list(start["history"])
        for each in history:
            line(each, epochs)  # fails where a field is missing or of another type
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError("the progress file does not fit this training; delete it and run without --resume") from error
    if len(history) > epochs:
        raise UserError(
            f"{len(history)} epochs are done, more than the {epochs} asked for; "
            f"give --epochs {len(history)} or more, or run without --resume"
        )
    return history
