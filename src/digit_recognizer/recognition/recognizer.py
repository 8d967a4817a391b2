"""Read a digit or a number in any picture, with a calibrated confidence, or say why there is none."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from digit_recognizer import checkpoints, evaluation
from digit_recognizer.preprocessing.page import Page, PreprocessedDigit, analyze
from digit_recognizer.recognition.calibration import rejection_score
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import percent

SHIPPED = "cnn_handwriting"  # the network that comes with the package for people's own digits
UNLIKE = "not like a digit"
MIN_ALTERNATIVE = 0.1  # the least probability of another digit that is named beside the answer


class Prediction(NamedTuple):
    """What a picture was read as.

    digit: 0 to 9, or None where there is none; reason then says why: blank, several digits, not like a digit.
    confidence: calibrated probability, 0 to 1, of the likeliest digit; 0 on a blank picture.
    probabilities: of the ten digits; they add up to 1. preprocessed: what the network was given. page: the picture as
    it was analyzed, about 5 MB; only Recognizer.predict keeps it.
    """

    digit: int | None
    confidence: float
    probabilities: tuple[float, ...]
    reason: str | None
    preprocessed: PreprocessedDigit
    page: Page | None = None

    @property
    def image(self) -> np.ndarray:
        """What the network saw: uint8 (28, 28), foreground bright."""
        return self.preprocessed.image

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was noticed in the picture or changed, for the user."""
        return self.preprocessed.warnings

    @property
    def ranked(self) -> list[int]:
        """The ten digits, the likeliest first."""
        return sorted(range(10), key=lambda digit: -self.probabilities[digit])

    @property
    def alternatives(self) -> tuple[int, ...]:
        """The other digits that it may well be, the likelier first; none where nothing was read."""
        if self.digit is None:
            return ()
        others = (digit for digit in self.ranked if digit != self.digit)
        return tuple(digit for digit in others if self.probabilities[digit] >= MIN_ALTERNATIVE)

    @property
    def doubt(self) -> str:
        """The alternatives in words, such as "or 9 (44.2%)"; empty where there are none."""
        return " ".join(f"or {digit} ({percent(self.probabilities[digit])})" for digit in self.alternatives)


class Number(NamedTuple):
    """The digits of a row, or of rows, from above.

    reason: why there is no number, blank or not like a digit; else None. rows: each as text, "?" for a shape that is
    not like a digit. predictions: in reading order. page: the picture as it was analyzed.
    """

    reason: str | None
    rows: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    page: Page

    @property
    def boxes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Of each digit, left, top, right, bottom in the picture's own pixels."""
        return tuple(prediction.preprocessed.box for prediction in self.predictions)

    @property
    def confidence(self) -> float:
        """0 to 1, of the least sure digit; 0 where there is none."""
        return min((each.confidence for each in self.predictions if each.digit is not None), default=0.0)

    @property
    def number(self) -> str:
        """All rows one after the other."""
        return "".join(self.rows)

    @property
    def doubt(self) -> str:
        """The alternatives of its digits in words, such as "#2: 5 or 9 (44.2%)", by their place from 1."""
        numbered = enumerate(self.predictions, 1)
        return ", ".join(f"#{place}: {each.digit} {each.doubt}" for place, each in numbered if each.doubt)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was noticed in the picture or changed in any of its digits, each once."""
        return tuple(dict.fromkeys(itertools.chain(self.page.warnings, *(each.warnings for each in self.predictions))))


class Logarithm(nn.Module):
    """Turns probabilities into logits."""

    def forward(self, probabilities: Tensor) -> Tensor:
        return probabilities.clamp(min=1e-30).log()


class Recognizer:
    """A network with its calibration: the temperature of its logits, and the least rejection score of a digit."""

    def __init__(self, model: nn.Module, temperature: float = 1.0, rejection_threshold: float = 0.0) -> None:
        self.model, self.temperature, self.rejection_threshold = model.eval(), temperature, rejection_threshold

    @classmethod
    def load(cls, path: str | Path | None = None, mean: float | None = None, std: float | None = None) -> "Recognizer":
        """Load the network of a file, or the one in the package. Raises UserError; see checkpoints.load."""
        if path is None and (mean is not None or std is not None):
            raise UserError("the network in the package has its own normalisation; leave out --mean and --std")
        checkpoint = checkpoints.pretrained(SHIPPED) if path is None else checkpoints.load(path, mean, std)
        model = checkpoint.model
        calibrated = _calibration(path, checkpoint.record or {})
        if checkpoint.recipe is not None and checkpoint.recipe.output == "softmax":
            model = nn.Sequential(model, Logarithm())
        return cls(model, **calibrated)

    def predict(self, picture: Any) -> Prediction:
        """Read one digit in a path, bytes, a Pillow image, an array or a Page. Raises UserError; see image_io.read."""
        page = analyze(picture)
        return self.read([page.digit()])[0]._replace(page=page)

    def predict_many(self, pictures: Iterable[Any]) -> list[Prediction]:
        """Read several pictures, each as predict does; their pages are not kept."""
        return self.read([analyze(picture).digit() for picture in pictures])

    def read_number(self, picture: Any) -> Number:
        """Read the digits of a row, or of rows. Rows of which more than half is not like a digit are left out."""
        page = analyze(picture)
        predictions = self.read(page.digits())
        rows: list[str] = []
        kept: list[Prediction] = []
        for _, group in itertools.groupby(predictions, key=lambda prediction: prediction.preprocessed.row):
            row = list(group)
            if 2 * sum(each.digit is None for each in row) <= len(row):
                rows.append("".join("?" if each.digit is None else str(each.digit) for each in row))
                kept += row
        reason = None if rows else (UNLIKE if predictions else "blank")
        return Number(reason, tuple(rows), tuple(kept), page)

    def read(self, digits: Sequence[PreprocessedDigit]) -> list[Prediction]:
        """Predict digits that were taken from pages."""
        if not digits:
            return []
        images = torch.from_numpy(np.stack([digit.image for digit in digits]))
        logits = evaluation.predict(self.model, images)
        probabilities = (logits / self.temperature).softmax(1)
        are_digits = (rejection_score(logits) >= self.rejection_threshold) & ~probabilities.isnan().any(1)
        rows = zip(digits, probabilities.tolist(), are_digits.tolist(), strict=True)
        return [self._prediction(*row) for row in rows]

    def _prediction(self, preprocessed: PreprocessedDigit, probabilities: list[float], is_digit: bool) -> Prediction:
        if preprocessed.reason == "blank":
            return Prediction(None, 0.0, (0.1,) * 10, "blank", preprocessed)
        confidence = max(probabilities)
        reason = preprocessed.reason or (None if is_digit else UNLIKE)
        digit = None if reason else probabilities.index(confidence)
        return Prediction(digit, confidence, tuple(probabilities), reason, preprocessed)


def _calibration(path: str | Path | None, record: dict[str, Any]) -> dict[str, float]:
    """The calibration of a record as Recognizer takes it, {} without one. Raises UserError where it is not usable."""
    calibration = record.get("calibration")
    if calibration is None:
        return {}
    if isinstance(calibration, dict):
        temperature, threshold = (calibration.get(name, "absent") for name in ("temperature", "rejection_threshold"))
        are_numbers = type(temperature) in (int, float) and type(threshold) in (int, float)
        if are_numbers and 0.001 <= temperature <= 1000 and 0 <= threshold < float("inf"):
            return {"temperature": temperature, "rejection_threshold": threshold}
    raise UserError(f"{path} has no usable calibration of its confidence; take another copy of it, or train it again")


def load_model(path: str | Path, mean: float | None = None, std: float | None = None) -> Recognizer:
    """Load a network; qmnist-streamlit's name for Recognizer.load."""
    return Recognizer.load(path, mean, std)


def test_single_image(model: Recognizer | nn.Module, image: Any) -> tuple[int | None, float]:
    """Read one picture; qmnist-streamlit's name. Returns the digit, None where there is none, and the confidence."""
    prediction = (model if isinstance(model, Recognizer) else Recognizer(model)).predict(image)
    return prediction.digit, prediction.confidence


vars(test_single_image)["__test__"] = False  # pytest takes its name for a test's
