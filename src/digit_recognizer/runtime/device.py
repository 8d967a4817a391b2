"""What a training computes on: the device, its threads, its matmul kernels, and whether it computes bfloat16."""

import contextlib
import functools
import os
from pathlib import Path

import torch

from digit_recognizer.runtime.errors import UserError


def choose_device(name: str = "auto", threads: int = 1) -> torch.device:
    """The device of that name; "auto" takes CUDA, then MPS, then the CPU. threads: with which the CPU computes.

    One thread by default: networks of this size gain little from more, lose much where another job needs the same
    cores, and end with other weights, since sums are rounded in another order.
    Denormals, below 1.2e-38, are flushed to zero from here on, in this thread and in those that it starts: Adam's
    moments of resting weights fade to denormals, on which a processor may take many times as long. So call this before
    anything that several threads compute.
    Processes that torchrun started take a GPU each where the machine has as many, else CPUs.
    Raises UserError for a device that is unknown or not available, and for threads below 1 or above 1,024.
    """
    if not 1 <= threads <= 1024:
        raise UserError(f"threads must be at least 1 and at most 1,024, not {threads}")
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of torchrun's on this machine
    available = {
        "cuda": torch.cuda.is_available() and (processes == 1 or torch.cuda.device_count() >= processes),
        "mps": torch.backends.mps.is_available() and processes == 1,  # it has no all_reduce
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device in available if available[device])
    if name not in available:
        raise UserError(f"unknown device '{name}'; there are auto, {', '.join(available)}")
    if not available[name]:
        where = "this machine has no" if processes == 1 else "not every process has its own"
        raise UserError(f"{where} {name} that torch can use; take --device auto or cpu")
    torch.set_float32_matmul_precision("medium" if name == "cpu" and _medium_is_float32() else "highest")
    if name == "cuda" and processes > 1:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # nccl's own buffers go there too
        return torch.device(name, int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def training_precision(wanted: str, device: torch.device) -> str:
    """The precision in which a recipe trains there: "bfloat16" where it wants that and the hardware computes it.

    Elsewhere "float32": emulated, bfloat16 takes ten times as long, and networks trained in either read as well.
    """
    return wanted if wanted == "float32" or computes_bfloat16(device.type) else "float32"


@functools.cache
def computes_bfloat16(device_type: str) -> bool:
    """Whether the hardware computes bfloat16 products: a GPU, or a CPU with AVX512_BF16, AMX or Arm's BF16."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device_type != "cpu" or any("bf16" in name for name in _cpu_features())


def _cpu_features() -> set[str]:
    """The names of the CPU's features, as torch or, before torch knew them, Linux gives them."""
    if hasattr(torch.cpu, "get_capabilities"):
        return {name for name, present in torch.cpu.get_capabilities().items() if present}
    with contextlib.suppress(OSError):
        return set(Path("/proc/cpuinfo").read_text().split())
    return set()


def _medium_is_float32() -> bool:
    """Whether CPU matmuls at PyTorch's precision "medium" are as exact as float32.

    On some processors it only selects another library's kernels, up to twice as fast; on others it means bfloat16.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(64, 784, generator=generator), torch.randn(784, 512, generator=generator)
    exact = left.double() @ right.double()  # values of about 28
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    error = (left @ right - exact).abs().max()
    torch.set_float32_matmul_precision(before)
    return bool(error < 0.001)  # float32 errs by 0.0001, bfloat16 by 0.3
