"""A trained PageNet with its record: the one in the package, or one that PyTorch has just trained."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from digit_recognizer.onnx_model import OnnxModel
from digit_recognizer.page_reader.detection import ComputeMaps
from digit_recognizer.page_reader.maps import Maps
from digit_recognizer.recipes.page_reader import NAME
from digit_recognizer.runtime.errors import UserError

if TYPE_CHECKING:
    from digit_recognizer.page_reader.network import PageNet

SHIPPED = Path(__file__).parents[1] / "pretrained" / f"{NAME}.onnx"


@dataclass(frozen=True)
class PageReader:
    """A network with its record. record["calibration"] is of the confidence in numbers; see recognition.calibration."""

    compute_maps: ComputeMaps
    record: dict[str, Any]

    @property
    def calibration(self) -> Sequence[float] | None:
        """The weights of recognition.page_reading.confidence_features; None where there are none."""
        return self.record.get("calibration")


def load(path: str | Path | bytes) -> PageReader:
    """Read a page reader that `digits export` wrote: a file, or its content. Raises UserError for another."""
    model = OnnxModel(path)
    if tuple(model.output_names) != Maps._fields or "record" not in model.about:
        raise UserError("this network finds no digits on pages; name the export of a page reader")
    return PageReader(lambda grey: Maps(*model(grey)), json.loads(model.about["record"]))


@functools.cache
def pretrained() -> PageReader:
    """The page reader in the package."""
    return load(SHIPPED)


def of_network(model: "PageNet", record: dict[str, Any] | None = None) -> PageReader:
    """A network that PyTorch computes."""
    import torch

    @torch.inference_mode()
    def compute_maps(grey: np.ndarray) -> Maps:
        return Maps(*(part.numpy() for part in model(torch.from_numpy(grey))))

    return PageReader(compute_maps, record or {})
