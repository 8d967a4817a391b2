"""What a recipe is: one training run as a frozen record, complete but for its seed."""

import itertools
import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from digit_recognizer.runtime.errors import UserError

MAX_PARAMETERS = 10**9  # of a network: 4 GB, and three times as much beside them while Adam trains it
# What each strength of an augmentation may be at most; more would make other digits, or none.
MAX_STRENGTHS = {
    "rotation": 180, "shift": 14, "scale": 0.9, "shear": 1, "elastic": 14, "stroke": 1, "blur": 1, "contrast": 1,
    "hard_edges": 1, "styles": 1, "damage": 1,
}  # fmt: skip
# The values that a field of text may have.
CHOICES = {
    "optimizer": ("adam", "sgd"),
    "schedule": ("constant", "triangle", "exponential"),
    "precision": ("float32", "bfloat16"),
    "output": ("logits", "log_softmax", "softmax"),
    "interpolation": ("bilinear", "bicubic"),
}
# Fields that came after the first records. With these values they are left out of a recipe's settings, so that records
# without them stay records of the same recipe.
LATER_FIELDS = {"side": 28, "residual": False, "fixed": False, "damage": 0}
MAX_SIDE = 112
# For each declared type: the accepted types, and its name in a message, singular and plural.
TYPES: dict[Any, tuple[tuple[type, ...], str, str]] = {
    int: ((int,), "a whole number", "whole numbers"),
    float: ((int, float), "a number", "numbers"),
    bool: ((bool,), "true or false", "true or false"),
    str: ((str,), "text", "texts"),
}


@dataclass(frozen=True)
class Published:
    """What a source reports. Accuracies are fractions, losses are nats per digit; None where it reports nothing."""

    train_loss: float | None = None
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None


@dataclass(frozen=True)
class Augmentation:
    """How strongly training digits are changed at random, by each method; zero leaves them unchanged.

    Raises UserError for a strength out of its range.
    """

    rotation: float = 0.0  # degrees, at most, to either side
    shift: float = 0.0  # pixels, at most, in each direction
    scale: float = 0.0  # fraction, at most, by which width and height grow or shrink, each by itself
    shear: float = 0.0  # pixels of slant, at most, per pixel of height
    elastic: float = 0.0  # pixels, at most, by which the sampling grid is displaced
    stroke: float = 0.0  # pixels, at most, added to or removed from each side of a stroke
    blur: float = 0.0  # weight, at most, of a 3x3 binomial filter
    contrast: float = 0.0  # strength, at most, of a change of gamma
    hard_edges: float = 0.0  # probability of a threshold at 0.5
    styles: float = 0.0  # probability of strokes that MNIST lacks; see strokes.add_styles
    damage: float = 0.0  # probability of light, noise, lines and the like over the image; see damage.add_damage
    interpolation: str = "bilinear"  # or "bicubic", which blurs less

    def __post_init__(self) -> None:
        _validate_fields(self)
        for name, most in MAX_STRENGTHS.items():
            if not 0 <= getattr(self, name) <= most:
                raise UserError(f"the strength of {name} must be from 0 to {most}, not {getattr(self, name)}")

    @property
    def warps(self) -> bool:
        """Whether pixels move, which takes a sampling grid."""
        return any((self.rotation, self.shift, self.scale, self.shear, self.elastic))


@dataclass(frozen=True)
class Convolution:
    """A convolutional layer, with 2x2 max pooling after it where `pool` is set. Raises UserError for invalid types.

    residual: whether the layer's input is added to its output, before pooling and ReLU (He and others 2016).
    fixed: whether the layer is not trained and not normalised; the first may be. See fixed_filters.
    """

    channels: int
    size: int = 3  # of the square kernel, in pixels
    stride: int = 1
    pool: bool = False
    residual: bool = False
    fixed: bool = False

    def __post_init__(self) -> None:
        _validate_fields(self)

    @property
    def padding(self) -> int:
        """Zeros on each side: 3x3 kernels keep the size; others get none, since MNIST's border is empty."""
        return 1 if self.size == 3 else 0


@dataclass(frozen=True)
class Recipe:
    """One training run, complete but for its seed. Raises UserError for a value that cannot be trained with."""

    name: str
    source: str  # the project's name, a comma, and what in it was read
    widths: tuple[int, ...]  # of the linear layers, from 784 pixels, or the convolutions' features, to 10 digits
    epochs: int
    convolutions: tuple[Convolution, ...] = ()  # before the linear layers
    side: int = 28  # pixels; to which a convolutional network enlarges digits before its first layer
    batch_norm: bool = False  # after each layer but the last
    batch_size: int = 64
    optimizer: str = "adam"  # or "sgd"
    learning_rate: float = 0.001  # of all steps, or the peak of the schedule
    # "triangle" rises linearly from zero to the peak and falls to zero; "exponential" falls from it to a thousandth.
    schedule: str = "constant"
    momentum: float = 0.0  # of sgd
    nesterov: bool = False
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    epochs_without_augmentation: int = 0  # at the end
    outlier_fraction: float = 0.0  # outliers beside each batch, as a fraction of it; their target is uniform
    precision: str = "float32"  # of matmuls and convolutions while training, or "bfloat16"
    mean: float = 0.1307  # of the pixels in [0, 1], subtracted by the network's first layer
    std: float = 0.3081  # of the pixels in [0, 1], divided by
    output: str = "logits"  # of the last layer, or their "log_softmax" or "softmax"
    dataset: str = "mnist"
    validation: bool = False  # whether a part of the training set is held out
    eval_every_epoch: bool = True  # whether the held-out or test part is scored after each epoch, or after the last
    published: Published = Published()
    unspecified_details: tuple[str, ...] = ()  # where the source is silent: "Subject: what it says; what we chose"

    def __post_init__(self) -> None:
        _validate_fields(self)
        for name in ("epochs", "batch_size", "learning_rate", "std"):
            if not 0 < (value := getattr(self, name)) < float("inf"):
                raise UserError(f"{name.replace('_', ' ')} must be greater than zero and finite, not {value}")
        if not (0 <= self.label_smoothing < 1 and 0 <= self.weight_decay < float("inf")):
            raise UserError("label smoothing must be from 0 to below 1, and weight decay finite and not below zero")
        if self.epochs_without_augmentation < 0:
            raise UserError("epochs without augmentation must not be below zero")
        if not 0 <= self.momentum < 1 or (self.nesterov and not self.momentum):
            raise UserError(f"momentum must be from 0 to below 1, for nesterov above 0, not {self.momentum}")
        if not abs(self.mean) < float("inf"):
            raise UserError(f"mean must be finite, not {self.mean}")
        if not 0 <= self.outlier_fraction < 1:
            raise UserError(f"the outlier fraction must be from 0 to below 1, not {self.outlier_fraction}")
        if not 28 <= self.side <= (MAX_SIDE if self.convolutions else 28):
            raise UserError(f"side must be from 28 to {MAX_SIDE}, without convolutions 28, not {self.side}")
        self._validate_network()

    def _validate_network(self) -> None:
        """Raise UserError where the layers do not lead from pixels to digits, or do not fit into memory."""
        if self.convolutions:
            features = self.convolutions[-1].channels * _output_side(self.convolutions, self.side) ** 2
            if not self._leads_from(features) or not self.batch_norm or self.output != "logits":
                raise UserError(
                    f"these convolutions need batch normalisation, widths from {features} to 10 and logits after them"
                )
            if any(layer.fixed for layer in self.convolutions):
                self._validate_fixed_filters()
        elif not self._leads_from(784):
            raise UserError(f"the widths {self.widths} do not lead from 784 pixels to 10 digits")
        if (count := self.parameter_count) > MAX_PARAMETERS:
            raise UserError(f"a network of {count:,} parameters is too large; the maximum is {MAX_PARAMETERS:,}")

    def _leads_from(self, inputs: int) -> bool:
        """Whether the linear layers lead from so many numbers to ten."""
        return len(self.widths) >= 2 and self.widths[0] == inputs and self.widths[-1] == 10 and min(self.widths) >= 1

    def _validate_fixed_filters(self) -> None:
        """Raise UserError where fixed filters would not do, or their output would not stay the same."""
        first, *others = self.convolutions
        if any(layer.fixed for layer in others) or first.residual or first.size == 1 or self.side != 28:
            raise UserError("only the first convolution may be fixed, on 28 pixels, neither residual nor of size 1")
        if first.channels % 2 or first.channels > 2 * first.size**2:
            raise UserError(f"{first.channels} fixed channels must be even, and at most {2 * first.size**2}")
        if self.augmentation != Augmentation() or self.outlier_fraction:
            raise UserError("behind fixed filters there can be no augmentation and no outliers")

    @property
    def project(self) -> str:
        """The name of the published project, or "ours"."""
        return self.source.split(",")[0]

    @property
    def settings(self) -> dict[str, Any]:
        """All fields that the training depends on, in plain types."""
        descriptions = ("name", "source", "published", "unspecified_details")
        settings = {name: value for name, value in as_recorded(self).items() if name not in descriptions}
        return json.loads(json.dumps(settings))

    @property
    def network(self) -> str:
        """The layers in short: convolutions as channels x kernel, / stride, f fixed, r residual, p pooled; widths."""
        parts = [
            f"{layer.channels}x{layer.size}{f'/{layer.stride}' if layer.stride > 1 else ''}"
            f"{'f' if layer.fixed else ''}{'r' if layer.residual else ''}{'p' if layer.pool else ''}"
            for layer in self.convolutions
        ]
        return "-".join([*parts, *map(str, self.widths[1:] if parts else self.widths)])

    @property
    def parameter_count(self) -> int:
        """Weights and biases of all layers that are trained, and two numbers a channel for batch normalisation."""
        inputs_of = zip([1, *(layer.channels for layer in self.convolutions)], self.convolutions, strict=False)
        trained = sum((inputs * layer.size**2 + 2) * layer.channels for inputs, layer in inputs_of if not layer.fixed)
        trained += sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(self.widths))
        return trained + self.batch_norm * 2 * sum(self.widths[1:-1])


def as_recorded(record: Any) -> dict[str, Any]:
    """The fields of a recipe, or of a part of it, as records keep them; see LATER_FIELDS."""

    def without_later_defaults(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in pairs if name not in LATER_FIELDS or value != LATER_FIELDS[name]}

    return asdict(record, dict_factory=without_later_defaults)


def from_plain_types(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a recipe as JSON keeps them, converted to their own types; absent ones stay absent.

    Raises KeyError, TypeError or ValueError for invalid fields, and UserError for strengths out of range.
    """
    layers = {"convolutions": tuple(Convolution(**layer) for layer in settings.get("convolutions", ()))}
    tuples = {name: tuple(settings[name]) for name in ("widths", "unspecified_details") if name in settings}
    return {**settings, **layers, **tuples, "augmentation": Augmentation(**settings.get("augmentation", {}))}


def _validate_fields(record: Any) -> None:
    """Raise UserError, naming the field, where a plain field, or a tuple of them, has a wrong type or choice."""
    for each in fields(record):
        value, name = getattr(record, each.name), each.name.replace("_", " ")
        several = typing.get_origin(each.type) is tuple
        declared = typing.get_args(each.type)[0] if several else each.type
        if declared in TYPES and not all(_is_of_type(declared, part) for part in (value if several else [value])):
            raise UserError(f"{name} must be {TYPES[declared][2 if several else 1]}, not {value}")
        if (choices := CHOICES.get(each.name)) and value not in choices:
            raise UserError(f"unknown {name} '{value}'; there are {' and '.join(choices)}")


def _is_of_type(declared: Any, value: Any) -> bool:
    return isinstance(value, TYPES[declared][0]) and (declared is bool) == isinstance(value, bool)


def _output_side(layers: tuple[Convolution, ...], side: int) -> int:
    """Side of the last layer's output. Raises UserError where a layer is invalid or that many pixels are too few."""
    channels, pixels = 1, side
    for layer in layers:
        if layer.residual and (layer.channels, layer.size, layer.stride) != (channels, 3, 1):
            raise UserError(
                f"a residual layer needs size 3, stride 1 and the {channels} channels before it, not {layer}"
            )
        channels = layer.channels
        side = (side + 2 * layer.padding - layer.size) // max(1, layer.stride) + 1
        side = side // 2 if layer.pool else side
        if min(side, layer.channels, layer.size, layer.stride) < 1:
            raise UserError(f"the convolutions {layers} do not fit {pixels} by {pixels} pixels")
    return side
