"""A trained PageNet as an ONNX file, which reads without PyTorch. Compared with PyTorch before it gets its name."""

import json
from pathlib import Path

import numpy as np
import torch

from digit_recognizer import export
from digit_recognizer.page_reader import checkpoints, reader
from digit_recognizer.page_reader.maps import MULTIPLE, Maps
from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError

SIDES = (192, 256)  # pixels of the picture that is compared
TOLERANCE = 0.01  # as a fraction of the largest value of a map: weights are kept in float16
MIN_ROUNDED = 64  # numbers in a tensor, from which on they are kept in float16


def run(path: str | Path, out: str | Path) -> None:
    """Export the page reader of a file, and print what was written. Raises UserError."""
    export.check_packages("onnx")
    import onnx
    from onnx import numpy_helper

    export.check_target(Path(out), path)
    model, record = checkpoints.load(path)
    sides = {2 + axis: MULTIPLE * torch.export.Dim(name, min=2) for axis, name in enumerate(("height", "width"))}
    picture = torch.rand(1, 1, *SIDES, generator=torch.Generator().manual_seed(0))
    names = list(Maps._fields)
    proto = export.to_onnx(model, picture, (sides,), ["grey"], names, {"record": json.dumps(record)})
    widened = []
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= MIN_ROUNDED:
            name, half = tensor.name, f"{tensor.name}_half"
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
            widened.append(onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT))
    for node in reversed(widened):
        proto.graph.node.insert(0, node)
    del proto.graph.value_info[:]  # shapes between the layers, which onnxruntime finds again
    content = proto.SerializeToString(deterministic=True)
    difference = _difference(content, reader.of_network(model), picture.numpy())
    if not difference <= TOLERANCE:  # written so that NaN fails too
        raise UserError(f"{out} is not written: its maps would be off by {difference:.1e} of the largest; report it")
    files.write_atomically(out, content)
    print(
        f"wrote {out}: {len(content) / 1000:,.0f} kB; maps as PyTorch's, weights in float16, "
        f"largest difference {difference:.1e} of the largest value"
    )


def _difference(content: bytes, expected: reader.PageReader, picture: np.ndarray) -> float:
    """The largest difference of a map from PyTorch's, as a fraction of the map's largest value."""
    found = reader.load(content).compute_maps(picture)
    pairs = zip(found, expected.compute_maps(picture), strict=True)
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs)
