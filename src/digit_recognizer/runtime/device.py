"""Choose what a training computes with: device, threads, matmul kernels, and float32 or bfloat16."""

import contextlib
import ctypes
import functools
import os
from pathlib import Path

import torch

from digit_recognizer.runtime.errors import UserError


def choose_device(name: str = "auto", threads: int = 1) -> torch.device:
    """Return the device of a name; "auto" is CUDA, else MPS, else the CPU. threads: of the CPU, 1 to 1,024.

    One thread is the default. Networks of this size gain little from more, lose much where another job needs the same
    cores, and get other weights, since sums are rounded in another order.
    From here on, denormals (below 1.2e-38) are flushed to zero in this thread and in those that it starts: Adam's
    moments of unused weights decay to denormals, which can be many times slower. So call this before any computation
    in several threads.
    Processes that torchrun started use one GPU each if the machine has enough, else CPUs. Raises UserError for a
    device that is unknown or not available, and for other numbers of threads.
    """
    if not 1 <= threads <= 1024:
        raise UserError(f"threads must be at least 1 and at most 1,024, not {threads}")
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of torchrun on this machine
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


def copy_to(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return values of the CPU on a device. A GPU is not waited for, so that it always has work: see non_blocking."""
    return values.to(device, non_blocking=device.type == "cuda")


def keep_memory() -> None:
    """Keep freed memory in this process and in those that it forks from here on, where the C library is glibc.

    By default it gives every large tensor back to the system, which then clears the same memory for the next one,
    which takes much of the time of a training on pages.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 64_000_000)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            mallopt(option, value)


def training_precision(requested: str, device: torch.device) -> str:
    """Return the precision of a training: "bfloat16" if the recipe requests it and the hardware computes it.

    Otherwise "float32": emulated bfloat16 takes ten times as long and is no more accurate.
    """
    return requested if computes_bfloat16(device.type) else "float32"


@functools.cache
def computes_bfloat16(device_type: str) -> bool:
    """Return whether the hardware computes bfloat16: a GPU, or a CPU with AVX512_BF16, AMX or Arm's BF16."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device_type != "cpu" or any("bf16" in name for name in _cpu_features())


def _cpu_features() -> set[str]:
    """Return the names of the CPU's features, from torch or, where it is too old, from Linux."""
    if hasattr(torch.cpu, "get_capabilities"):
        return {name for name, present in torch.cpu.get_capabilities().items() if present}
    with contextlib.suppress(OSError):
        return set(Path("/proc/cpuinfo").read_text().split())
    return set()


def _medium_is_float32() -> bool:
    """Return whether CPU matmuls at PyTorch's precision "medium" are as exact as float32.

    On some processors "medium" only selects other kernels, up to twice as fast; on others it computes in bfloat16.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(64, 784, generator=generator), torch.randn(784, 512, generator=generator)
    exact = left.double() @ right.double()  # values of about 28
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    error = (left @ right - exact).abs().max()
    torch.set_float32_matmul_precision(before)
    return bool(error < 0.001)  # float32 is off by 0.0001, bfloat16 by 0.3
