"""Calibration of a network: temperature scaling, the rejection threshold, the expected calibration error."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import data, evaluation
from digit_recognizer.data import augmentation
from digit_recognizer.recipes.recipe import Augmentation

AUGMENTED_COPIES = 4  # of each validation digit: more mistakes give a steadier temperature
MAX_REJECTION_RATE = 0.004  # of the validation digits; it may be higher on other people's digits


def calibrate(model: nn.Module, digits: data.Digits, settings: Augmentation) -> dict[str, float] | None:
    """Fit the temperature and the rejection threshold on the validation digits. Returns None without any.

    The temperature comes from digits augmented as in training, with these settings. The threshold, the least confidence
    that is accepted, comes from the digits as they are; "rejection_rate" is the fraction of them below it.
    """
    if digits.validation is None:
        return None
    temperature = fit_temperature(*_predict_augmented(model, digits.validation, settings))
    logits = evaluation.predict(model, digits.validation.images)
    confidence = (logits / temperature).softmax(1).amax(1)
    min_confidence = float(confidence.sort().values[int(MAX_REJECTION_RATE * len(confidence))])
    rejection_rate = float((confidence < min_confidence).double().mean())
    return {"temperature": temperature, "min_confidence": min_confidence, "rejection_rate": rejection_rate}


def _predict_augmented(model: nn.Module, split: data.Split, settings: Augmentation) -> tuple[Tensor, Tensor]:
    """Logits and labels of all digits, each augmented at random several times."""
    generator = torch.Generator().manual_seed(0)
    logits = []
    for _ in range(AUGMENTED_COPIES):
        pixels = augmentation.augment(data.to_pixels(split.images), settings, generator, split.labels)
        logits.append(evaluation.predict(model, (255 * pixels[:, 0]).round().to(torch.uint8)))
    return torch.cat(logits), split.labels.repeat(AUGMENTED_COPIES)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the divisor of the logits that gives the least cross-entropy, to one percent (Guo and others 2017).

    logits: float (n, 10); labels: int64 (n,).
    """
    temperatures = torch.exp(torch.linspace(-3, 3, 601))  # from 1/20 to 20
    losses = torch.stack([F.cross_entropy(logits / temperature, labels) for temperature in temperatures])
    return float(temperatures[losses.argmin()])


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Return the expected calibration error: |confidence - accuracy|, averaged over bins of equal width.

    probabilities: float (n, 10); labels: int64 (n,). A fraction, 0 at best.
    """
    confidence, predicted = probabilities.double().max(1)
    correct = (predicted == labels).double()
    bin_index = (confidence * bins).long().clamp(max=bins - 1)
    zeros = torch.zeros(bins, dtype=torch.float64)
    differences = zeros.index_add(0, bin_index, confidence - correct)
    return float(differences.abs().sum() / len(labels))
