"""How a number was made: versions, machine, threads, commit; and the hash of weights."""

import contextlib
import hashlib
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from digit_recognizer import __version__
from digit_recognizer.runtime import distributed
from digit_recognizer.runtime.device import training_precision


def collect(model: nn.Module, precision: str = "float32") -> dict[str, Any]:
    """How a number was made: versions, machine, precision, threads, processes, commit. precision: of the recipe."""
    device = next(model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "package": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "device": device.type,
        "device_name": name,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "training_precision": training_precision(precision, device),
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
        **_commit(),
    }


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names and bytes of all weights: equal only where two networks are equal bit for bit."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> dict[str, Any]:
    """The commit of this checkout and whether the package was changed since; both None outside of a checkout."""
    here = Path(__file__).resolve().parent.parent
    outputs = []
    # The first fails where the package is installed inside the checkout of another project.
    for command in (
        ["ls-files", "--error-unmatch", "__init__.py"],
        ["rev-parse", "HEAD"],
        ["status", "--porcelain", "."],
    ):
        try:
            ran = subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return {"commit": None, "changed": None}
        outputs.append(ran.stdout.strip())
    return {"commit": outputs[1], "changed": bool(outputs[2])}
