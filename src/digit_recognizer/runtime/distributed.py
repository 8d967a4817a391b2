"""One training in several processes, which torchrun starts: each computes its share, and all hold the same numbers.

A process alone passes through every function here untouched. gloo carries numbers between CPUs, nccl between GPUs.
torch is imported where it is needed only: whoever just writes a file does without.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from digit_recognizer.runtime.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Result = TypeVar("Result")
_rank, _count = 0, 1  # which process this is, and of how many


def init_process_group() -> None:
    """Join the processes that torchrun started with this one, if it did; all but the first then print nothing.

    Raises UserError where they cannot be joined: a port that is taken, a variable of torchrun's that is missing.
    """
    global _rank, _count
    if _count > 1 or os.environ.get("WORLD_SIZE", "1") == "1":
        return
    import torch
    from torch import distributed

    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the processes cannot join ({reason}); start them with torchrun, on a free port") from error
    _rank, _count = distributed.get_rank(), distributed.get_world_size()
    atexit.register(_leave)
    if _rank > 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave() -> None:
    """Part from the others, all at the same place; at once, which they notice, where this one ends in a traceback."""
    if hasattr(sys, "last_type"):
        sys.stderr.flush()
        os._exit(1)
    from torch import distributed

    with contextlib.suppress(ValueError, RuntimeError):  # nccl has no such barrier; and who is gone does not come
        # torchrun stops all as soon as one ends with an error: the first must have said its line by then.
        distributed.monitored_barrier(timeout=datetime.timedelta(seconds=5))
    distributed.destroy_process_group()


def world_size() -> int:
    """How many processes train together."""
    return _count


def is_main_process() -> bool:
    """Whether this is the one process that prints, draws bars and writes files."""
    return _rank == 0


def device(kind: str) -> torch.device:
    """The device of that kind that belongs to this process: of several GPUs the one with its number on the machine."""
    import torch

    if kind != "cuda" or _count == 1:
        return torch.device(kind)
    torch.cuda.set_device(_local_rank())  # nccl's own buffers go there too
    return torch.device(kind, _local_rank())


def all_have_cuda() -> bool:
    """Whether each process has a GPU of its own."""
    import torch

    if _count == 1:
        return torch.cuda.is_available()
    return all(all_gather(torch.cuda.device_count() > _local_rank()))


def _local_rank() -> int:
    """Which process of this machine this is."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextlib.contextmanager
def raise_together() -> Iterator[None]:
    """What is a UserError in one process within becomes one in all, so that none waits for a process that gave up."""
    problem = None
    try:
        yield
    except UserError as error:
        problem = error
    for each in all_gather(problem):
        if each is not None:
            raise each


def run_on_main_process(function: Callable[[], Result]) -> Result:
    """Call it in the first process only. Its result, or its UserError, is everyone's."""
    results = []
    with raise_together():
        if is_main_process():
            results.append(function())
    return all_gather(results)[0][0]


def local_main_process_first(function: Callable[[], Result]) -> Result:
    """Call it in the first process of each machine and then in its others, which find what that one has fetched."""
    results = []
    for others in (False, True):
        with raise_together():
            if (_local_rank() > 0) is others:
                results.append(function())
    return results[0]


def all_gather(value: Result) -> list[Result]:
    """The value of every process, in order. value: anything that can be pickled, tensors on the CPU."""
    values = [value] * _count
    if _count > 1:
        _exchange("all_gather_object", values, value)
    return values


def shard(tensor: Tensor) -> Tensor:
    """This process's rows, contiguous; in all processes together each row once, the numbers of rows alike to one."""
    return tensor if _count == 1 else tensor.tensor_split(_count)[_rank]


def all_gather_rows(rows: Tensor, count: int) -> Tensor:
    """All processes' shares as one tensor of that many rows, on the CPU."""
    if _count == 1:
        return rows
    import torch

    table = torch.zeros(count, *rows.shape[1:], dtype=rows.dtype)
    shard(table).copy_(rows)
    return all_reduce(table)  # one number and zeros: exact


def all_reduce(terms: Tensor) -> Tensor:
    """Replace the terms, in place, with their sums over all processes."""
    _exchange("all_reduce", terms)
    return terms


def all_reduce_gradients(model: nn.Module) -> None:
    """Give every process the sum of all processes' gradients; one message for the whole network."""
    if _count == 1:
        return
    import torch

    gradients = [weights.grad for weights in model.parameters() if weights.grad is not None]
    sums = all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, sums.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _exchange(name: str, *arguments: Any) -> None:
    """Call torch.distributed's function of that name. Raises UserError where the others do not answer any more."""
    from torch import distributed

    try:
        getattr(distributed, name)(*arguments)
    except RuntimeError as error:
        raise UserError("another process has ended; what it said stands above") from error
