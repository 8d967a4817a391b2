"""How good a network is: every digit counted once, sums divided once, and the interval of the result."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import data
from digit_recognizer.runtime import distributed
from digit_recognizer.runtime.device import copy_to


class Scores(NamedTuple):
    """What a network did on a set of digits. loss: summed over the digits, in nats."""

    correct: int
    count: int  # type: ignore[assignment]  # tuple.count is not needed
    loss: float

    @property
    def accuracy(self) -> float:
        """Fraction of the digits."""
        return self.correct / self.count

    @property
    def mean_loss(self) -> float:
        """Nats per digit."""
        return self.loss / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy, for other digits of the same kind."""
        return wilson_interval(self.correct, self.count)


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor, batch_size: int = 1000) -> Tensor:
    """Logits of every image, in order: float32 (n, 10), on the CPU. images: uint8 (n, 28, 28), foreground bright.

    Draws no random numbers and leaves the model in its mode. Each of several processes predicts its share; all return
    all logits.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    parts = distributed.shard(images).split(batch_size)
    logits = torch.cat([model(data.to_pixels(copy_to(part, device))).float() for part in parts])
    model.train(was_training)
    return distributed.all_gather_rows(logits.cpu(), len(images))


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Count correct predictions, each digit once. logits: float (n, 10); labels: int64 (n,), 0 to 9.

    Raises ValueError where the lengths differ or there is nothing to count.
    """
    if len(logits) != len(labels) or not len(labels):
        raise ValueError(f"{len(logits)} rows of logits for {len(labels)} labels")
    labels = labels.cpu()
    loss = F.cross_entropy(logits, labels, reduction="none").sum(dtype=torch.float64)
    return Scores(int((logits.argmax(1) == labels).sum()), len(labels), float(loss))


def mean_of_batch_means(logits: Tensor, labels: Tensor, batch_size: int) -> float:
    """The loss as many notebooks report it: the mean over batches of each batch's mean, in nats.

    A smaller last batch weighs as much as the others. logits: float (n, 10); labels: int64 (n,).
    """
    losses = F.cross_entropy(logits, labels.cpu(), reduction="none").split(batch_size)
    return float(torch.stack([batch.mean(dtype=torch.float64) for batch in losses]).mean())


def wilson_interval(correct: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a fraction, by default with 95 % coverage (Wilson 1927).

    >>> [round(100 * end, 2) for end in wilson_interval(9787, 10_000)]
    [97.57, 98.14]
    """
    p = correct / count
    middle = p + z * z / (2 * count)
    half = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """Counts of true against predicted digits: int64 (10, 10), rows true, columns predicted."""
    return (labels.cpu() * 10 + logits.argmax(1)).bincount(minlength=100).reshape(10, 10)


def per_digit(confusion: Tensor) -> list[dict[str, float]]:
    """Precision, recall, F1 (fractions; 0 where undefined) and count of each digit, from a confusion matrix."""
    hits = confusion.diagonal().double()
    precision = hits / confusion.sum(0).clamp(min=1)
    recall = hits / confusion.sum(1).clamp(min=1)
    f1 = 2 * hits / (confusion.sum(0) + confusion.sum(1)).clamp(min=1)
    columns = zip(precision.tolist(), recall.tolist(), f1.tolist(), confusion.sum(1).tolist(), strict=True)
    return [
        {"digit": digit, "precision": p, "recall": r, "f1": f, "count": n} for digit, (p, r, f, n) in enumerate(columns)
    ]


def per_digit_table(confusion: Tensor) -> str:
    """per_digit as text, one digit a line."""
    lines = ["digit  precision  recall      F1  count"]
    lines += [
        f"{row['digit']:5}  {row['precision']:9.2%}  {row['recall']:6.2%}  {row['f1']:6.2%}  {row['count']:5}"
        for row in per_digit(confusion)
    ]
    return "\n".join(lines)
