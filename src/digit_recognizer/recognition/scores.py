"""What logits say: probabilities, and the score by which a picture is refused; with arrays alone, without PyTorch."""

import math

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, float (..., 10); they add up to 1."""
    return np.exp(log_softmax(logits))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The logarithms of the probabilities, float64 (..., 10)."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def rejection_score(logits: np.ndarray) -> np.ndarray:
    """How unlike an outlier an image is, in nats: the divergence of its softmax from ten equal probabilities.

    logits: float (..., 10), as the network gives them, without temperature. Outliers were trained towards equal
    probabilities, a score of 0. A doubt between two digits scores high: the other eight are ruled out.
    """
    divergence = -log_softmax(logits).mean(-1) - math.log(np.shape(logits)[-1])
    return np.maximum(divergence, 0)  # by rounding it may be less
