"""What a training computes on: the device, its threads, and the kernels of its products."""

import torch

from digit_recognizer.runtime import distributed
from digit_recognizer.runtime.errors import UserError


@distributed.raise_together()
def choose_device(name: str = "auto", threads: int = 1) -> torch.device:
    """The device of that name, auto taking CUDA, then MPS, then the CPU; and with how many threads the CPU computes.

    One thread by default: networks as small as these gain little from more, lose much where another job wants the
    same cores, and give other roundings, thus other weights, with another number of threads.
    Numbers below float32's least normal one, 1.2e-38, count as nought from here on: the moments of resting weights fade
    to such, on which a processor may take many times as long. That holds in this thread and in those that it starts
    from here on; so let this come before anything that several threads compute.
    Where torchrun started this process it joins the others here, which take a GPU each where all have one, else CPUs.
    Raises UserError for a device that is unknown or not there, and for threads below 1 or above 1,024.
    """
    distributed.init_process_group()
    if not 1 <= threads <= 1024:
        raise UserError(f"threads must be at least 1 and at most 1,024, not {threads}")
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    alone = distributed.world_size() == 1  # MPS has nothing that adds numbers over processes
    there = {"cuda": distributed.all_have_cuda(), "mps": alone and torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if name not in there:
        raise UserError(f"unknown device '{name}'; there are auto, {', '.join(there)}")
    if not there[name]:
        where = "this machine has no" if alone else "not every process has its own"
        raise UserError(f"{where} {name} that torch can use; take --device auto or cpu")
    torch.set_float32_matmul_precision("medium" if name == "cpu" and _medium_is_float32() else "highest")
    return distributed.device(name)


def _medium_is_float32() -> bool:
    """Whether CPU products at PyTorch's precision "medium" keep float32's digits.

    On some processors it only chooses another library's kernels, up to twice as fast; on others it means bfloat16.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(64, 784, generator=generator), torch.randn(784, 512, generator=generator)
    exact = left.double() @ right.double()  # numbers of about 28
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    error = (left @ right - exact).abs().max()
    torch.set_float32_matmul_precision(before)
    return bool(error < 0.001)  # float32 errs by 0.0001, bfloat16 by 0.3
