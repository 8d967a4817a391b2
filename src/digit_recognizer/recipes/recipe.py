"""What a recipe is: one training run as a frozen record, complete but for its seed."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from digit_recognizer.recipes import kinds
from digit_recognizer.recipes.strengths import Augmentation
from digit_recognizer.runtime.errors import UserError


@dataclass(frozen=True)
class Published:
    """What a source reports. Accuracies are fractions, losses are nats per digit; None where it says nothing."""

    train_loss: float | None = None
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None


@dataclass(frozen=True)
class Convolution:
    """A convolutional layer, followed, where pool says so, by the largest of each 2 by 2 places.

    Raises UserError for numbers that are none.
    """

    channels: int
    size: int = 3  # of the square kernel, in pixels
    stride: int = 1
    pool: bool = False

    def __post_init__(self) -> None:
        kinds.check(self)

    @property
    def padding(self) -> int:
        """Zeros on each side: what keeps the size of 3 by 3 layers; none elsewhere, for MNIST's rim is empty."""
        return 1 if self.size == 3 else 0


MOST_WEIGHTS = 10**9  # of a network: 4 GB, and three times as much beside them while Adam trains it


@dataclass(frozen=True)
class Recipe:
    """One training run, complete but for its seed. Raises UserError when a value cannot be trained with."""

    name: str
    source: str
    widths: tuple[int, ...]  # of the fully connected layers, from 784 pixels, or what is left of them, to 10 digits
    epochs: int
    convolutions: tuple[Convolution, ...] = ()  # before them
    batch_norm: bool = False  # after each layer but the last
    batch_size: int = 64
    optimizer: str = "adam"  # or "sgd"
    learning_rate: float = 0.001  # of all steps, or its peak
    schedule: str = "constant"  # or "triangle": in straight lines from zero up to the peak and down to zero
    momentum: float = 0.0  # of sgd
    nesterov: bool = False  # the momentum's kind
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    clean_epochs: int = 0  # without augmentation, at the end
    non_digits: float = 0.0  # made-up ones beside each batch, as a share of it, of which nothing is to be said
    precision: str = "float32"  # of the products while training, or "bfloat16"
    mean: float = 0.1307  # of the pixels in [0, 1], subtracted by the network's first layer
    deviation: float = 0.3081  # of the pixels in [0, 1], divided by
    output: str = "logits"  # what the last layer gives: these, "log_softmax" or "softmax" of them
    dataset: str = "mnist"
    validation: bool = False  # whether a part of the training set is held out to look at
    curve: bool = True  # whether the held-out or test part is scored after each epoch, not only after the last
    published: Published = Published()
    departures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kinds.check(self)
        for name in ("epochs", "batch_size", "learning_rate", "deviation"):
            if not 0 < (value := getattr(self, name)) < float("inf"):
                raise UserError(f"{name.replace('_', ' ')} must be greater than zero and finite, not {value}")
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise UserError(f"unknown {name} '{value}'; there are {' and '.join(choices)}")
        if not (0 <= self.label_smoothing < 1 and 0 <= self.weight_decay < float("inf") and self.clean_epochs >= 0):
            raise UserError("label smoothing must be from 0 to below 1, weight decay and clean epochs not below zero")
        if not 0 <= self.momentum < 1 or (self.nesterov and not self.momentum):
            raise UserError(f"momentum must be from 0 to below 1, for nesterov above 0, not {self.momentum}")
        if not abs(self.mean) < float("inf"):
            raise UserError(f"mean must be finite, not {self.mean}")
        if not 0 <= self.non_digits < 1:
            raise UserError(f"the share of non-digits must be from 0 to below 1, not {self.non_digits}")
        self._check_network()

    def _check_network(self) -> None:
        """Raise UserError where the layers do not lead from pixels to digits, or are more than memory holds."""
        if self.convolutions:
            features = self.convolutions[-1].channels * _side_left(self.convolutions) ** 2
            if self.widths != (features, 10) or not self.batch_norm or self.output != "logits":
                raise UserError(
                    f"these convolutions need batch normalisation, the widths ({features}, 10) and logits after them"
                )
        elif len(self.widths) < 2 or self.widths[0] != 784 or self.widths[-1] != 10 or min(self.widths) < 1:
            raise UserError(f"the widths {self.widths} do not lead from 784 pixels to 10 digits")
        if (count := self.parameter_count) > MOST_WEIGHTS:
            raise UserError(f"a network of {count:,} weights is too large; {MOST_WEIGHTS:,} are the most")

    @property
    def project(self) -> str:
        """The number of the published project, or "ours"."""
        return self.source.split(",")[0]

    @property
    def settings(self) -> dict[str, Any]:
        """All that the training depends on, in types that JSON keeps."""
        fields = asdict(self)
        for told in ("name", "source", "published", "departures"):
            del fields[told]
        return json.loads(json.dumps(fields))

    @property
    def network(self) -> str:
        """The layers in a few words: convolutions as channels x kernel, / stride, p for pooling; then the widths."""
        parts = [
            f"{layer.channels}x{layer.size}{f'/{layer.stride}' if layer.stride > 1 else ''}{'p' if layer.pool else ''}"
            for layer in self.convolutions
        ]
        return "-".join([*parts, *map(str, self.widths[1:] if parts else self.widths)])

    @property
    def parameter_count(self) -> int:
        """Weights and biases of all layers, with two numbers a channel where there is batch normalisation."""
        channels = [1, *(layer.channels for layer in self.convolutions)]
        count = sum(
            inputs * layer.channels * layer.size**2
            for inputs, layer in zip(channels[:-1], self.convolutions, strict=True)
        )
        count += sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(self.widths))
        return count + self.batch_norm * 2 * (sum(channels[1:]) + sum(self.widths[1:-1]))


def typed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a recipe in plain types, as JSON keeps them, in their own types; those that are not there stay away.

    Raises KeyError, TypeError or ValueError for what are no fields, and UserError for strengths out of their range.
    """
    layers = {"convolutions": tuple(Convolution(**layer) for layer in fields.get("convolutions", ()))}
    tuples = {name: tuple(fields[name]) for name in ("widths", "departures") if name in fields}
    return {**fields, **layers, **tuples, "augmentation": Augmentation(**fields.get("augmentation", {}))}


# What a field of words may say.
CHOICES = {
    "optimizer": ("adam", "sgd"),
    "schedule": ("constant", "triangle"),
    "precision": ("float32", "bfloat16"),
    "output": ("logits", "log_softmax", "softmax"),
}


def _side_left(layers: tuple[Convolution, ...]) -> int:
    """What they leave of a side of 28 places. Raises UserError where a layer cannot be, or nothing is left for it."""
    side = 28
    for layer in layers:
        if min(layer.channels, layer.size, layer.stride) >= 1:
            side = (side + 2 * layer.padding - layer.size) // layer.stride + 1
            side = side // 2 if layer.pool else side
        else:
            side = 0
        if side < 1:
            raise UserError(f"the convolutions {layers} do not fit 28 by 28 pixels")
    return side
