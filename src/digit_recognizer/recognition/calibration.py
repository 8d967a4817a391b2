"""Calibration of a network: temperature scaling, the rejection threshold, the calibration error."""

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import data, evaluation
from digit_recognizer.data import augmentation
from digit_recognizer.recipes.recipe import Augmentation
from digit_recognizer.recognition.scores import rejection_score

AUGMENTED_COPIES = 4  # of each validation digit: more mistakes give a steadier temperature and threshold
MAX_REJECTION_RATE = 0.01  # of the augmented validation digits; about half of that of digits as MNIST has them


def calibrate(model: nn.Module, digits: data.Digits, settings: Augmentation) -> dict[str, float] | None:
    """Fit the temperature and the rejection threshold on the validation digits. Returns None without any.

    Both come from digits augmented as in training, with these settings. The threshold is the least rejection score that
    is accepted; "rejection_rate" is the fraction of the digits as they are, not augmented, below it.
    """
    if digits.validation is None:
        return None
    images, labels = augmented_copies(digits.validation, settings)
    return fit(evaluation.predict(model, images), labels, evaluation.predict(model, digits.validation.images))


def fit(augmented: Tensor, labels: Tensor, plain: Tensor) -> dict[str, float]:
    """The same from logits: of the augmented digits with their labels, and of the digits as they are; float (n, 10)."""
    scores = np.sort(rejection_score(augmented.numpy()))
    rejection_threshold = float(scores[int(MAX_REJECTION_RATE * len(scores))])
    return {
        "temperature": fit_temperature(augmented, labels),
        "rejection_threshold": rejection_threshold,
        "rejection_rate": float((rejection_score(plain.numpy()) < rejection_threshold).mean()),
    }


def augmented_copies(split: data.Split, settings: Augmentation) -> tuple[Tensor, Tensor]:
    """All digits, each augmented at random several times: uint8 (n, 28, 28), and their labels.

    Without damage, since preprocessing removes paper and light before a picture is read.
    """
    settings = dataclasses.replace(settings, damage=0)
    generator = torch.Generator().manual_seed(0)
    images = []
    for _ in range(AUGMENTED_COPIES):
        pixels = augmentation.augment(data.to_pixels(split.images), settings, generator, split.labels)
        images.append((255 * pixels[:, 0]).round().to(torch.uint8))
    return torch.cat(images), split.labels.repeat(AUGMENTED_COPIES)


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


def calibrate_numbers(features: np.ndarray, are_right: np.ndarray) -> list[float]:
    """Fit the weights with which the features of numbers give the probability that all of a number is right.

    features: float (n, k), of page_reading.confidence_features; are_right: bool (n,). Logistic regression.
    """
    from sklearn.linear_model import LogisticRegression  # here: reading a picture does not need it

    fitted = LogisticRegression(C=10.0, fit_intercept=False, max_iter=1000).fit(features, are_right)
    return [float(weight) for weight in fitted.coef_[0]]
