"""Digit Recognizer: networks that read handwritten digits, trained on MNIST as five published projects did, and better.

The core, in the order in which to read it:

    recipes.recipe      what a training run is
    data.digits         whole data sets in memory, fixed splits, shuffled batches
    data.augmentation   training digits changed as other hands and pens would
    models              the networks; normalisation is their first layer
    training            the loop
    evaluation          scores, intervals, the confusion matrix
    checkpoints         a trained network as a file
    plots               figures

Beside it stand `records`, a run as JSON, `export`, a network for other programs, and `fixed_filters`, a first layer
that is not trained. The folders hold what builds on the core: `preprocessing`, `recognition`, `study`, `apps`, `cli`,
`runtime`.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from digit_recognizer.runtime.threads import spin_briefly

if TYPE_CHECKING:
    from digit_recognizer.recognition.recognizer import Recognizer

__version__ = "0.1.0"
__all__ = [
    "Recognizer",
    "checkpoints",
    "data",
    "evaluation",
    "export",
    "models",
    "plots",
    "recipes",
    "records",
    "training",
]

# Must come before the first import of torch.
spin_briefly()

# Must come before the first import of onnxruntime. From 1.29 on it reports each session to its makers, and writes an
# identifier of the machine into the home folder; a picture that is read here concerns nobody else.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562): importing the package alone does not import torch."""
    if name == "Recognizer":
        return importlib.import_module("digit_recognizer.recognition.recognizer").Recognizer
    if name in __all__:
        return importlib.import_module(f"digit_recognizer.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
