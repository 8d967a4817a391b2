"""A network in an ONNX file, computed by onnxruntime: quick to start, and without PyTorch."""

from pathlib import Path

import numpy as np

from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.packages import missing_package

LOG_ERRORS_ONLY = 3  # a machine without a graphics card is nothing to warn of


class OnnxModel:
    """A network of one input and one or several outputs, float32 all of them.

    about: what its file says of the training, as text. Shapes have a name or None where any number of rows will do.
    """

    def __init__(self, path: str | Path | bytes) -> None:
        """path: of the file, or its content.

        Raises UserError where onnxruntime is missing, and where the file cannot be read or holds no such network.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise missing_package(error) from error
        onnxruntime.disable_telemetry_events()  # on Windows; elsewhere the package has done so as it was imported
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = LOG_ERRORS_ONLY
        try:
            content = path if isinstance(path, bytes) else Path(path).read_bytes()
        except OSError as error:
            raise UserError(f"{_name(path)} cannot be read: {error.strerror or error}") from error
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            (self._input,) = self._session.get_inputs()
            if {each.type for each in (self._input, *self._session.get_outputs())} != {"tensor(float)"}:
                raise ValueError("other numbers than float32")
        except Exception as error:  # onnxruntime has its own for each kind of damage
            raise UserError(f"{_name(path)} is no ONNX file of a network, or is damaged; export it again") from error
        self.about: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.input_shape: list[int | str] = list(self._input.shape)
        outputs = self._session.get_outputs()
        self.output_names: list[str] = [output.name for output in outputs]
        self.output_shapes: list[list[int | str]] = [list(output.shape) for output in outputs]

    def __call__(self, values: np.ndarray) -> list[np.ndarray]:
        """All outputs for an input, float32 of the input_shape."""
        return self._session.run(None, {self._input.name: values})


def _name(path: str | Path | bytes) -> str:
    return "this" if isinstance(path, bytes) else str(path)
