"""Read a digit or a number in any picture, with a calibrated confidence, or say why there is none."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digit_recognizer import calibrated
from digit_recognizer.onnx_model import OnnxModel
from digit_recognizer.page_reader.reader import PageReader, pretrained
from digit_recognizer.preprocessing.page import PreprocessedDigit, analyze
from digit_recognizer.recognition import page_reading
from digit_recognizer.recognition.prediction import BLANK, UNLIKE, Number, Prediction
from digit_recognizer.recognition.scores import rejection_score, softmax
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.packages import missing_package

if TYPE_CHECKING:
    from torch import nn

# The network that comes with the package for people's own digits, as onnxruntime reads it.
SHIPPED = "cnn_handwriting"
SHIPPED_FILE = Path(__file__).parents[1] / "pretrained" / f"{SHIPPED}.onnx"


class Recognizer:
    """A network with its calibration: the temperature of its logits, and the least rejection score of a digit."""

    def __init__(
        self,
        model: "nn.Module | OnnxModel | None" = None,
        temperature: float = 1.0,
        rejection_threshold: float = 0.0,
        page_reader: PageReader | None = None,
        *,
        gives_probabilities: bool = False,
    ) -> None:
        """model: by default the network in the package, which has its own calibration and needs no PyTorch.

        page_reader: finds digits on pages; by default the one in the package. gives_probabilities: whether the model
        ends with softmax, instead of with logits.
        """
        if model is None:
            model, _, calibration = _load_onnx(SHIPPED_FILE)
            temperature, rejection_threshold = calibration["temperature"], calibration["rejection_threshold"]
        self.model, self.temperature, self.rejection_threshold = model, temperature, rejection_threshold
        self._page_reader, self._gives_probabilities = page_reader, gives_probabilities

    @property
    def uses_pytorch(self) -> bool:
        """Whether PyTorch computes the network, on as many threads as it is told; else onnxruntime does, on one."""
        return not isinstance(self.model, OnnxModel)

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
        """Load the network of a file, or the one in the package, which needs no PyTorch.

        path: a model of ours, its export as ONNX or safetensors, a folder with one of these, or a state dict; see
        checkpoints.load, which mean and std are for. Raises UserError.
        """
        if path is None:
            if mean is not None or std is not None:
                raise UserError("the network in the package has its own normalisation; leave out --mean and --std")
            return cls(page_reader=page_reader)
        path = _exported_in(Path(path)) if Path(path).is_dir() else Path(path)
        is_onnx = path.suffix == ".onnx"
        if is_onnx and (mean is not None or std is not None):
            raise UserError(f"{path} holds its own normalisation; leave out --mean and --std")
        model, output, calibration = _load_onnx(path) if is_onnx else _load_checkpoint(path, mean, std)
        return cls(
            model, **calibrated.usable(path, calibration), page_reader=page_reader,
            gives_probabilities=output == "softmax",
        )  # fmt: skip

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
        logits = self.logits(np.stack([digit.image for digit in digits]))
        with np.errstate(invalid="ignore", over="ignore"):  # logits that are not finite are no digit
            probabilities = softmax(logits / self.temperature)
            are_digits = (rejection_score(logits) >= self.rejection_threshold) & ~np.isnan(probabilities).any(1)
        rows = zip(digits, probabilities.tolist(), are_digits.tolist(), strict=True)
        return [self._prediction(*row) for row in rows]

    def logits(self, images: np.ndarray) -> np.ndarray:
        """What the network says of each image: float32 (n, 10). images: uint8 (n, 28, 28), foreground bright."""
        if isinstance(self.model, OnnxModel):
            (logits,) = self.model(images[:, None].astype(np.float32) / 255)
        else:
            import torch

            from digit_recognizer import evaluation

            logits = evaluation.predict(self.model, torch.from_numpy(images)).numpy()
        return np.log(np.maximum(logits, 1e-30)) if self._gives_probabilities else logits

    def _prediction(self, preprocessed: PreprocessedDigit, probabilities: list[float], is_digit: bool) -> Prediction:
        if preprocessed.reason == BLANK:
            return Prediction(None, 0.0, (0.1,) * 10, BLANK, preprocessed)
        confidence = max(probabilities)
        reason = preprocessed.reason or (None if is_digit else UNLIKE)
        digit = None if reason else probabilities.index(confidence)
        return Prediction(digit, confidence, tuple(probabilities), reason, preprocessed)


def _exported_in(folder: Path) -> Path:
    """The network in a folder: an ONNX file, else one of safetensors. Raises UserError where there is not just one."""
    for pattern in ("*.onnx", "*.safetensors"):
        if len(found := sorted(folder.glob(pattern))) == 1:
            return found[0]
    raise UserError(f"{folder} holds no network, or several; name the file: .onnx, .safetensors or .pth")


def _load_onnx(path: Path) -> tuple[OnnxModel, str, Any]:
    """The network, its output ("logits" or another) and its calibration. Raises UserError."""
    model = OnnxModel(path)
    takes_digits = model.input_shape[1:] == [1, 28, 28] and not isinstance(model.input_shape[0], int)
    if not takes_digits or [shape[1:] for shape in model.output_shapes] != [[10]]:
        raise UserError(f"{path} reads no single digits of 28 by 28 pixels; name another network")
    try:
        fields = json.loads(model.about.get("recipe_fields", "{}"))
        return model, str(fields.get("output", "logits")), json.loads(model.about.get("calibration", "null"))
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} says nothing readable of its training; export the network again") from error


def _load_checkpoint(path: Path, mean: float | None, std: float | None) -> tuple["nn.Module", str, Any]:
    """As _load_onnx, of a file that PyTorch reads."""
    try:
        from digit_recognizer import checkpoints
    except ImportError as error:
        raise missing_package(error) from error
    checkpoint = checkpoints.load(path, mean, std)
    output = "logits" if checkpoint.recipe is None else checkpoint.recipe.output
    return checkpoint.model, output, (checkpoint.record or {}).get("calibration")


def load_model(path: str | Path, mean: float | None = None, std: float | None = None) -> Recognizer:
    """Load a network; qmnist-streamlit's name for Recognizer.load."""
    return Recognizer.load(path, mean, std)


def test_single_image(model: "Recognizer | nn.Module", image: Any) -> tuple[int | None, float]:
    """Read one picture; qmnist-streamlit's name. Returns the digit, None where there is none, and the confidence."""
    prediction = (model if isinstance(model, Recognizer) else Recognizer(model)).predict(image)
    return prediction.digit, prediction.confidence


vars(test_single_image)["__test__"] = False  # pytest takes its name for a test's
