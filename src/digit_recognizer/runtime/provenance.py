"""What a number was made with: versions, machine, threads, commit; and the hash of weights."""

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


def collect(model: nn.Module | None, precision: str | None = None) -> dict[str, Any]:
    """Return versions, machine, threads, processes and commit.

    model: None for reading on the CPU. precision: the one that a recipe asks for; what it is on this device is returned
    too. None for no training.
    """
    device = torch.device("cpu") if model is None else next(model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "package": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "device": device.type,
        "device_name": name,
        **({"cuda": torch.version.cuda} if device.type == "cuda" else {}),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        **({} if precision is None else {"training_precision": training_precision(precision, device)}),
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
        **_commit(),
    }


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 of the names and bytes of all weights: equal only for bitwise equal networks."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _processor() -> str:
    """Return the processor's name, as far as the system gives one."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> dict[str, Any]:
    """Return the commit of this checkout and whether the package was changed since; None twice outside a checkout."""

    def git(*command: str) -> str:
        return subprocess.check_output(["git", *command], cwd=here, stderr=subprocess.DEVNULL, text=True, timeout=10)

    here = Path(__file__).resolve().parents[1]
    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # fails within the checkout of another project
        return {"commit": git("rev-parse", "HEAD").strip(), "changed": bool(git("status", "--porcelain", "."))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "changed": None}
