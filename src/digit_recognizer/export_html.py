"""A trained network as one HTML file to draw digits in: draw_page.html with the network in it.

The page holds the calibration and the layers by kind. Their numbers are in base85, a quarter longer than the bytes
(base64: a third). Weights are float16; the few other numbers, which move whole channels, are float32. The page runs
whatever layers `_describe` knows.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer import calibrated, data, models
from digit_recognizer.runtime.errors import UserError

TEMPLATE = Path(__file__).parent / "draw_page.html"
PLACE = "NETWORK"  # of the network in it
MAX_NUMBERS = 4_000_000  # of a network: 10 MB of page, which a phone still opens
# Of a logit, as a fraction of the largest. float16 keeps 11 bits: each weight is off by up to 5e-4 of itself, and
# the errors partly cancel. With a largest logit of 10 and a temperature of 0.5, a probability is off by 0.005 at most.
TOLERANCE = 1e-3
TYPES = {"weight": "<f2"}  # of arrays by name; the others are "<f4"

Layer = dict[str, Any]  # kind, what else the page needs, and shapes: how many numbers each of its arrays has, by name


def write(model: nn.Module, about: dict[str, str]) -> bytes:
    """The page of a network; the same bytes for the same network.

    about: of export.description; without a calibration, temperature and rejection_threshold are 1 and 0. Raises
    UserError where the network has other layers, is too large, or has weights that are too large for float16.
    """
    layers, packed, count = [], b"", 0
    for layer, arrays in _describe(model):
        layers.append({**layer, "shapes": {name: each.numel() for name, each in arrays.items()}})
        count += sum(layers[-1]["shapes"].values())
        if count > MAX_NUMBERS:
            raise UserError(f"the network has more than {MAX_NUMBERS:,} numbers, too many for html; export it as onnx")
        for name, each in arrays.items():
            with np.errstate(over="ignore"):
                numbers = each.detach().numpy().astype(TYPES.get(name, "<f4"))
            if not np.isfinite(numbers).all():
                raise UserError("the network has weights above 65,504, which html cannot hold; export it as onnx")
            packed += numbers.tobytes()
    packed += bytes(-len(packed) % 4)  # base85 takes four at a time
    calibration = calibrated.usable("the model", json.loads(about.get("calibration", "null")))
    network = {
        "name": about.get("recipe", ""),
        **{"temperature": 1.0, "rejection_threshold": 0.0, **calibration},
        "layers": layers,
        "numbers": base64.b85encode(packed).decode().replace("<", ","),
    }
    text = json.dumps(network).replace("<", "\\u003c")  # no name may end the script
    before, after = TEMPLATE.read_text(encoding="utf-8").split(PLACE)
    return f"{before}{text}{after}".encode()


def logits(content: bytes, images: Tensor) -> Tensor:
    """What the network in a page computes, by PyTorch: float32 (n, 10). images: uint8 (n, 28, 28)."""
    before = TEMPLATE.read_text(encoding="utf-8").split(PLACE)[0]
    network = json.loads(content.decode()[len(before) :].partition("</script>")[0])
    packed, place = base64.b85decode(network["numbers"].replace(",", "<")), 0
    values = data.to_pixels(images)
    for layer in network["layers"]:
        arrays = {}
        for name, count in layer["shapes"].items():
            numbers = np.frombuffer(packed, TYPES.get(name, "<f4"), count, place)
            arrays[name] = torch.from_numpy(numbers.astype(np.float32))
            place += numbers.nbytes
        values = _compute(layer, arrays, values)
    return values


def _describe(model: nn.Module) -> list[tuple[Layer, dict[str, Tensor]]]:
    """The layers of a network in their order, each with its arrays by name. Raises UserError for an unknown one."""
    if isinstance(model, nn.Sequential):
        return [described for child in model for described in _describe(child)]
    match model:
        case models.Normalize():
            return [({"kind": "normalize", "mean": float(model.mean), "std": float(model.deviation)}, {})]
        case nn.Linear():
            bias = torch.zeros(model.out_features) if model.bias is None else model.bias
            return [({"kind": "linear", "outputs": model.out_features}, {"weight": model.weight, "bias": bias})]
        case nn.Conv2d() if _is_plain(model):
            layer = {"kind": "convolution", "outputs": model.out_channels, "size": model.kernel_size[0]}
            layer |= {"stride": model.stride[0], "padding": int(model.padding[0])}
            arrays = {"weight": model.weight} | ({} if model.bias is None else {"bias": model.bias})
            return [(layer, arrays)]
        case nn.BatchNorm1d() | nn.BatchNorm2d() if model.affine and model.running_var is not None:
            assert model.running_mean is not None  # noqa: S101 (for mypy: it comes with the variance)
            scale = model.weight.double() / (model.running_var.double() + model.eps).sqrt()
            shift = model.bias.double() - model.running_mean.double() * scale
            return [({"kind": "batch_norm"}, {"scale": scale, "shift": shift})]
        case nn.MaxPool2d() if _pools_plainly(model):
            return [({"kind": "max_pool", "size": model.kernel_size}, {})]
        case nn.ReLU():
            return [({"kind": "relu"}, {})]
        case nn.Flatten(start_dim=1, end_dim=-1):
            return [({"kind": "flatten"}, {})]
        case nn.Softmax(dim=1):
            return [({"kind": "softmax"}, {})]
        case nn.LogSoftmax(dim=1):
            return [({"kind": "log_softmax"}, {})]
    raise UserError(f"html cannot hold this network: it has a layer {model}; export it as onnx".replace("\n", " "))


def _is_plain(model: nn.Conv2d) -> bool:
    """Whether a convolution is square, whole, and pads with zeros."""
    square = all(len(set(each)) == 1 for each in (model.kernel_size, model.stride, model.padding))
    zeros = model.padding_mode == "zeros" and not isinstance(model.padding, str)
    return square and zeros and model.groups == 1 and set(model.dilation) == {1}


def _pools_plainly(model: nn.MaxPool2d) -> bool:
    """Whether pooling takes squares side by side."""
    plain = model.stride == model.kernel_size and (model.padding, model.dilation) == (0, 1)
    return isinstance(model.kernel_size, int) and plain and not (model.ceil_mode or model.return_indices)


def _compute(layer: Layer, arrays: dict[str, Tensor], values: Tensor) -> Tensor:
    """One layer of a page, as the page computes it. values: float32 (n, channels, height, width), or (n, features)."""
    match layer["kind"]:
        case "normalize":
            return (values - layer["mean"]) / layer["std"]
        case "linear":
            return F.linear(values, arrays["weight"].reshape(layer["outputs"], -1), arrays["bias"])
        case "convolution":
            weight = arrays["weight"].reshape(layer["outputs"], values.shape[1], layer["size"], layer["size"])
            return F.conv2d(values, weight, arrays.get("bias"), layer["stride"], layer["padding"])
        case "batch_norm":
            shape = (-1,) + (1,) * (values.ndim - 2)
            return values * arrays["scale"].reshape(shape) + arrays["shift"].reshape(shape)
        case "max_pool":
            return F.max_pool2d(values, layer["size"])
        case "relu":
            return values.relu()
        case "flatten":
            return values.flatten(1)
        case "softmax":
            return values.softmax(1)
        case "log_softmax":
            return values.log_softmax(1)
    raise ValueError(f"unknown layer {layer['kind']}")
