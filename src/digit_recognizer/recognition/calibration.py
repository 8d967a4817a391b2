"""Whether a network is as sure as it is right, and from when on it should rather say nothing."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import data, evaluation
from digit_recognizer.data import augmentation
from digit_recognizer.recipes.strengths import Augmentation

TIMES = 4  # that each validation digit is changed anew, so that more than a handful of mistakes decide
REFUSED = 0.004  # of the validation digits, at most, that are refused; of strangers' it may be more


def meaning(model: nn.Module, digits: data.Digits, strengths: Augmentation) -> dict[str, float] | None:
    """By which temperature a network's answers are probabilities, and the least confidence that is an answer.

    Both from the validation part, None where there is none: the temperature from its digits changed as in training,
    by these strengths, the least confidence from them as they are. "refused" is the fraction that is then refused.
    """
    if digits.validation is None:
        return None
    temperature = fit_temperature(*_changed(model, digits.validation, strengths))
    logits = evaluation.predict(model, digits.validation.images)
    confidence = (logits / temperature).softmax(1).amax(1)
    least = float(confidence.sort().values[int(REFUSED * len(confidence))])
    refused = float((confidence < least).double().mean())
    return {"temperature": temperature, "least": least, "refused": refused}


def _changed(model: nn.Module, part: data.Split, strengths: Augmentation) -> tuple[Tensor, Tensor]:
    """Logits and labels of all digits, each changed at random several times."""
    generator = torch.Generator().manual_seed(0)
    changed = []
    for _ in range(TIMES):
        pixels = augmentation.augment(data.to_pixels(part.images), strengths, generator, part.labels)
        changed.append(evaluation.predict(model, (255 * pixels[:, 0]).round().to(torch.uint8)))
    return torch.cat(changed), part.labels.repeat(TIMES)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """What logits are to be divided by for the least loss, to a thousandth (Guo and others 2017).

    logits: float (n, 10); labels: int64 (n,).
    """
    temperatures = torch.exp(torch.linspace(-3, 3, 601))  # from 1/20 to 20
    losses = torch.stack([F.cross_entropy(logits / temperature, labels) for temperature in temperatures])
    return float(temperatures[losses.argmin()])


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, averaged over equally wide bins.

    probabilities: float (n, 10); labels: int64 (n,). A fraction, 0 at best.
    """
    confidence, answers = probabilities.double().max(1)
    right = (answers == labels).double()
    place = (confidence * bins).long().clamp(max=bins - 1)
    zeros = torch.zeros(bins, dtype=torch.float64)
    apart = zeros.index_add(0, place, confidence - right)
    return float(apart.abs().sum() / len(labels))
