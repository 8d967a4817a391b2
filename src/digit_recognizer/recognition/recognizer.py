"""Reads a digit in any picture, says how sure it is, and says so where there is none."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from digit_recognizer import checkpoints, evaluation
from digit_recognizer.preprocessing import mnist_format
from digit_recognizer.preprocessing.mnist_format import Intake
from digit_recognizer.runtime.errors import UserError

SHIPPED = "cnn_handwriting"  # the network that comes with the package for people's own digits
UNLIKE = "not like a digit"


class Prediction(NamedTuple):
    """What a picture was read as.

    digit: 0 to 9, or None where there is none; reason then says why: blank, several digits, not like a digit.
    confidence: calibrated probability, 0 to 1, of the likeliest digit; 0 where the network was not asked.
    probabilities: of the ten digits; they add up to 1. image: uint8 (28, 28), ink bright, what the network saw.
    warnings: what was noticed or done to the picture, in plain words.
    """

    digit: int | None
    confidence: float
    probabilities: tuple[float, ...]
    image: np.ndarray
    reason: str | None
    warnings: tuple[str, ...]

    @property
    def ranked(self) -> list[int]:
        """The ten digits, the likeliest first."""
        return sorted(range(10), key=lambda digit: -self.probabilities[digit])


class Number(NamedTuple):
    """Digits read in a row, or in rows, from above.

    reason: why there is no number, blank or not like a digit; else None. rows: each as text, "?" for a shape that is
    not like a digit. boxes: of each digit in reading order, left, top, right, bottom in the picture's own pixels.
    predictions: of each.
    """

    reason: str | None
    rows: tuple[str, ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    predictions: tuple[Prediction, ...]

    @property
    def confidence(self) -> float:
        """0 to 1, of the least sure digit; 0 where there is none."""
        return min((one.confidence for one in self.predictions if one.digit is not None), default=0.0)

    @property
    def number(self) -> str:
        """All rows one after the other."""
        return "".join(self.rows)


class Logarithm(nn.Module):
    """Probabilities to logits."""

    def forward(self, probabilities: Tensor) -> Tensor:
        return probabilities.clamp(min=1e-30).log()


class Recognizer:
    """A network, and what its answers mean: by which temperature they are probabilities, and when they are none."""

    def __init__(self, model: nn.Module, temperature: float = 1.0, min_confidence: float = 0.0) -> None:
        self.model, self.temperature, self.min_confidence = model.eval(), temperature, min_confidence

    @classmethod
    def load(cls, path: str | Path | None = None, mean: float | None = None, std: float | None = None) -> "Recognizer":
        """The network of a file, or the one that comes with the package. Raises UserError; see checkpoints.load."""
        if path is None and (mean is not None or std is not None):
            raise UserError(
                "the network of the package knows how its pixels were normalised; leave out --mean and --std"
            )
        checkpoint = checkpoints.pretrained(SHIPPED) if path is None else checkpoints.load(path, mean, std)
        model = checkpoint.model
        temperature, min_confidence = _calibration(path, checkpoint.record or {})
        if checkpoint.recipe is not None and checkpoint.recipe.output == "softmax":
            model = nn.Sequential(model, Logarithm())
        return cls(model, temperature, min_confidence)

    def predict(self, picture: Any) -> Prediction:
        """Read one picture: a path, bytes, a Pillow image or an array. Raises UserError for what is no picture."""
        return self.predict_many([picture])[0]

    def predict_many(self, pictures: Iterable[Any]) -> list[Prediction]:
        """Read several pictures, each as predict does."""
        return self.read([mnist_format.to_mnist(picture) for picture in pictures])

    def read_number(self, picture: Any) -> Number:
        """Read the digits of a row, or of rows. A row of which more than half is not like a digit is none."""
        pieces = mnist_format.split_digits(picture)
        answers = self.read([piece.intake for piece in pieces])
        found = zip(pieces, answers, strict=True)
        rows: list[str] = []
        kept: list[tuple[mnist_format.Piece, Prediction]] = []
        for _, group in itertools.groupby(found, key=lambda both: both[0].row):
            row = list(group)
            if 2 * sum(answer.digit is None for _, answer in row) <= len(row):
                rows.append("".join("?" if answer.digit is None else str(answer.digit) for _, answer in row))
                kept += row
        boxes = tuple(piece.box for piece, _ in kept)
        reason = None if rows else (UNLIKE if pieces else "blank")
        return Number(reason, tuple(rows), boxes, tuple(answer for _, answer in kept))

    def read(self, intakes: Sequence[Intake]) -> list[Prediction]:
        """Read what images.to_mnist made of pictures."""
        if not intakes:
            return []
        seen = torch.from_numpy(np.stack([intake.digit for intake in intakes]))
        logits = evaluation.predict(self.model, seen) / self.temperature
        return [self._prediction(intake, row) for intake, row in zip(intakes, logits.softmax(1).tolist(), strict=True)]

    def _prediction(self, intake: Intake, probabilities: list[float]) -> Prediction:
        if intake.reason == "blank":
            return Prediction(None, 0.0, (0.1,) * 10, intake.digit, "blank", intake.warnings)
        confidence = max(probabilities)
        is_sure = confidence >= self.min_confidence  # False for NaN
        reason = intake.reason or (None if is_sure else UNLIKE)
        digit = None if reason else probabilities.index(confidence)
        return Prediction(digit, confidence, tuple(probabilities), intake.digit, reason, intake.warnings)


def _calibration(path: str | Path | None, record: dict[str, Any]) -> tuple[float, float]:
    """Return temperature and min_confidence of a record. Raises UserError where they are not usable numbers."""
    calibration = record.get("meaning") or {}
    if isinstance(calibration, dict):
        temperature, min_confidence = calibration.get("temperature", 1.0), calibration.get("least", 0.0)
        are_numbers = type(temperature) in (int, float) and type(min_confidence) in (int, float)
        if are_numbers and 0.001 <= temperature <= 1000 and 0 <= min_confidence < float("inf"):
            return temperature, min_confidence
    raise UserError(f"{path} is damaged: the calibration of its confidence is not usable; take another copy of it")


def load_model(path: str | Path, mean: float | None = None, std: float | None = None) -> Recognizer:
    """Project 001's name for loading a network; see Recognizer.load."""
    return Recognizer.load(path, mean, std)


def test_single_image(model: Recognizer | nn.Module, image: Any) -> tuple[int | None, float]:
    """Project 001's name for reading one picture: the digit, None where there is none, and the confidence, 0 to 1."""
    prediction = (model if isinstance(model, Recognizer) else Recognizer(model)).predict(image)
    return prediction.digit, prediction.confidence


vars(test_single_image)["__test__"] = False  # pytest takes its name for a test's
