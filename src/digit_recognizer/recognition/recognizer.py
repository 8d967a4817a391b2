"""Read a digit or a number in any picture, with a calibrated confidence, or say why there is none."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from digit_recognizer import checkpoints, evaluation
from digit_recognizer.page_reader.checkpoints import PageReader, pretrained
from digit_recognizer.preprocessing.page import PreprocessedDigit, analyze
from digit_recognizer.recognition import page_reading
from digit_recognizer.recognition.calibration import rejection_score
from digit_recognizer.recognition.prediction import BLANK, UNLIKE, Number, Prediction
from digit_recognizer.runtime.errors import UserError

SHIPPED = "cnn_handwriting"  # the network that comes with the package for people's own digits


class Logarithm(nn.Module):
    """Turns probabilities into logits."""

    def forward(self, probabilities: Tensor) -> Tensor:
        return probabilities.clamp(min=1e-30).log()


class Recognizer:
    """A network with its calibration: the temperature of its logits, and the least rejection score of a digit."""

    def __init__(
        self,
        model: nn.Module,
        temperature: float = 1.0,
        rejection_threshold: float = 0.0,
        page_reader: PageReader | None = None,
    ) -> None:
        """page_reader: finds digits on pages; by default the one in the package."""
        self.model, self.temperature, self.rejection_threshold = model.eval(), temperature, rejection_threshold
        self._page_reader = page_reader

    @property
    def page_reader(self) -> PageReader:
        """What finds digits on pages, loaded when it is first needed."""
        return self._page_reader or pretrained()

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        mean: float | None = None,
        std: float | None = None,
        page_reader: PageReader | None = None,
    ) -> "Recognizer":
        """Load the network of a file, or the one in the package. Raises UserError; see checkpoints.load."""
        if path is None and (mean is not None or std is not None):
            raise UserError("the network in the package has its own normalisation; leave out --mean and --std")
        checkpoint = checkpoints.pretrained(SHIPPED) if path is None else checkpoints.load(path, mean, std)
        model = checkpoint.model
        calibrated = _calibration(path, checkpoint.record or {})
        if checkpoint.recipe is not None and checkpoint.recipe.output == "softmax":
            model = nn.Sequential(model, Logarithm())
        return cls(model, calibrated.get("temperature", 1.0), calibrated.get("rejection_threshold", 0.0), page_reader)

    def predict(self, picture: Any) -> Prediction:
        """Read one digit in a path, bytes, a Pillow image, an array or a Page. Raises UserError; see image_io.read."""
        page = analyze(picture)
        prediction = self.read([page.digit()])[0]
        return page_reading.check(page, prediction, self.page_reader, self.read)._replace(page=page)

    def predict_many(self, pictures: Iterable[Any]) -> list[Prediction]:
        """Read several pictures, each as predict does; their pages are not kept."""
        return [self.predict(picture)._replace(page=None) for picture in pictures]

    def read_number(self, picture: Any) -> Number:
        """Read the digits of a page, row by row. Raises UserError; see image_io.read."""
        return page_reading.read(analyze(picture), self.page_reader, self.read)

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
        if preprocessed.reason == BLANK:
            return Prediction(None, 0.0, (0.1,) * 10, BLANK, preprocessed)
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
