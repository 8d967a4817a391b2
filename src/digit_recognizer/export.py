"""A trained network as a file for other programs, compared with PyTorch before it gets its name.

onnx          the whole network: "pixels", float32 (n, 1, 28, 28) in [0, 1], to "logits", float32 (n, 10), for any n
safetensors   its weights and buffers under PyTorch's names; the reader builds the layers
html          a page to draw digits in, which reads them with the network (export_html)

Normalisation is inside all of them. What is known of the training goes along as text.
"""

import copy
import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from digit_recognizer import calibrated, checkpoints, data, evaluation, export_html
from digit_recognizer.runtime import files, provenance
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.packages import missing_package

# that each format needs
PACKAGES = {"onnx": ("onnx", "onnxruntime", "onnxscript"), "safetensors": ("safetensors",), "html": ()}
DIGITS = 1000  # are compared: of optdigits, which is always there
TOLERANCE = 1e-5  # as a fraction of the largest logit, since float32 rounds in proportion; html has its own


def run(path: str | Path, format: str, out: str | Path, mean: float | None = None, std: float | None = None) -> None:
    """Export the network of a file (see checkpoints.load), and print what was written. Raises UserError."""
    out = Path(out)
    check_target(out, path)
    checkpoint = checkpoints.load(path, mean, std)
    difference = write(out, checkpoint.model, format, description(checkpoint))
    print(
        f"wrote {out}: {out.stat().st_size / 1000:,.0f} kB; logits as PyTorch's, "
        f"largest difference {difference:.1e} of the largest logit, n = {DIGITS:,} digits of optdigits"
    )


def check_target(out: Path, path: str | Path) -> None:
    """Raise UserError where the export of a file cannot be written to out."""
    if out.exists() and not out.is_file():
        raise UserError(f"{out} is a folder, or not an ordinary file; give --out the name of a file")
    if out.exists() and Path(path).exists() and out.samefile(path):
        raise UserError(f"{out} is the model itself; give --out another name")


def write(path: str | Path, model: nn.Module, format: str, about: dict[str, str]) -> float:
    """Write a network, atomically, once the very bytes, read again, have given PyTorch's logits.

    model: any that takes float32 (n, 1, 28, 28) and returns float32 (n, 10); unchanged. about: goes along as text.
    Returns the largest difference, as a fraction of the largest logit, or of 1 where all are smaller. Raises UserError,
    leaving what was at path, where that is above the tolerance, packages are missing or writing fails.
    """
    check_packages(format)
    model = copy.deepcopy(model).cpu().eval()
    images = data.load("optdigits").train.images[:DIGITS]
    expected = evaluation.predict(model, images)
    if not expected.isfinite().all():
        raise UserError(f"{path} is not written: the network's logits are not finite numbers; train it again")
    tolerance = TOLERANCE
    if format == "onnx":
        content = _onnx(model, about)
        logits = _onnx_logits(content, images)
    elif format == "safetensors":
        content = _safetensors(model, about)
        logits = _safetensors_logits(content, model, images)
    else:
        content, tolerance = export_html.write(model, about), export_html.TOLERANCE
        logits = export_html.logits(content, images)
    difference = float((logits - expected).abs().max() / expected.abs().max().clamp(min=1))
    if not difference <= tolerance:  # written so that NaN fails too
        raise UserError(f"{path} is not written: its logits would be off by {difference:.1e} of the largest; report it")
    files.write_atomically(path, content)
    return difference


def description(checkpoint: checkpoints.Checkpoint) -> dict[str, str]:
    """What a file says of its training, as text: recipe, its fields, data set, calibration, hash of the weights.

    Empty for a bare state dict. Raises UserError for a calibration that recognition would not take.
    """
    if checkpoint.recipe is None:
        return {}
    fields = json.dumps(dataclasses.asdict(checkpoint.recipe), default=str)
    record = checkpoint.record or {}
    calibrated.usable("the model", record.get("calibration"))
    return {
        "recipe": checkpoint.recipe.name,
        "recipe_fields": fields,
        "dataset": record.get("dataset", checkpoint.recipe.dataset),
        "calibration": json.dumps(record.get("calibration")),
        "weights": provenance.weights_hash(checkpoint.model),
    }


def check_packages(format: str) -> None:
    """Raise UserError where the format is unknown or what it needs is not installed."""
    if format not in PACKAGES:
        raise UserError(f"unknown format '{format}'; there are onnx, safetensors and html")
    try:
        for name in PACKAGES[format]:
            importlib.import_module(name)
    except ImportError as error:
        raise missing_package(error) from error


def _onnx(model: nn.Module, about: dict[str, str]) -> bytes:
    """The network as an ONNX file; about becomes its metadata."""
    example = torch.zeros(2, 1, 28, 28)  # two digits: a single one would be taken for a fixed number
    proto = to_onnx(model, example, ({0: torch.export.Dim("n")},), ["pixels"], ["logits"], about)
    return proto.SerializeToString(deterministic=True)


def to_onnx(
    model: nn.Module,
    example: Tensor,
    dynamic_shapes: tuple[dict[int, Any], ...],
    input_names: list[str],
    output_names: list[str],
    about: dict[str, str],
) -> Any:
    """A network as ONNX's ModelProto; about becomes its metadata."""
    from onnx import helper

    names: dict[str, Any] = {"input_names": input_names, "output_names": output_names}
    program: Any = torch.onnx.export(
        model, (example,), **names, dynamic_shapes=dynamic_shapes, dynamo=True, verbose=False
    )
    proto = program.model_proto  # a new one at each reading
    graph = proto.graph
    # PyTorch notes in whose folders each layer was defined; no reader needs to know.
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    helper.set_model_props(proto, about)
    return proto


def _onnx_logits(content: bytes, images: Tensor) -> Tensor:
    """What onnxruntime computes: float32 (n, 10)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"pixels": data.to_pixels(images).numpy()})[0])


def _safetensors(model: nn.Module, about: dict[str, str]) -> bytes:
    """The network's state dict as a safetensors file; about becomes its metadata."""
    from safetensors.torch import save

    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    return save(state, {"format": "pt", **about})  # "pt", for PyTorch, is what other programs look for


def _safetensors_logits(content: bytes, model: nn.Module, images: Tensor) -> Tensor:
    """What the same layers compute with the weights of the file: float32 (n, 10)."""
    from safetensors.torch import load

    again = copy.deepcopy(model)
    again.load_state_dict(load(content))
    return evaluation.predict(again, images)
