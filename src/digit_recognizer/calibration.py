"""Whether a network is as sure as it is right, and from when on it should rather say nothing."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import data, evaluation

REFUSED = 0.004  # of the validation digits, at most, that are refused; of strangers' it may be more


def meaning(model: nn.Module, digits: data.Digits) -> dict[str, float] | None:
    """By which temperature a network's answers are probabilities, and the least confidence that is an answer.

    Both from the validation part; None where there is none. "refused" is the fraction of it that is then refused.
    """
    if digits.validation is None:
        return None
    logits = evaluation.predict(model, digits.validation.images)
    temperature = fit_temperature(logits, digits.validation.labels)
    confidence = (logits / temperature).softmax(1).amax(1)
    least = float(confidence.sort().values[int(REFUSED * len(confidence))])
    refused = float((confidence < least).double().mean())
    return {"temperature": temperature, "least": least, "refused": refused}


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
