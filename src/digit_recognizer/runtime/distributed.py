"""One training in several processes, which torchrun starts: each computes its share, and all hold the same weights.

In a single process every function here does nothing. gloo carries tensors between CPUs, nccl between GPUs.
"""

import atexit
import contextlib
import datetime
import functools
import os
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError

_rank, _world_size = 0, 1


def init_process_group() -> None:
    """Join the other processes if torchrun started this one; all but the main process then print and write nothing.

    Raises UserError where they cannot be joined: a port that is in use, a variable of torchrun's that is missing.
    """
    global _rank, _world_size
    if _world_size > 1 or os.environ.get("WORLD_SIZE", "1") == "1":
        return
    from torch import distributed

    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the processes cannot join ({reason}); start them with torchrun, on a free port") from error
    _rank, _world_size = distributed.get_rank(), distributed.get_world_size()
    atexit.register(_leave)
    if _rank > 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        files.disable_writing()


def _leave() -> None:
    """Leave together with the others; at once, which they notice, where this process ends in a traceback."""
    if hasattr(sys, "last_type"):
        sys.stderr.flush()
        os._exit(1)
    from torch import distributed

    with contextlib.suppress(ValueError, RuntimeError):  # nccl has no such barrier; and a dead process never comes
        # torchrun stops all as soon as one ends with an error: the main process must have said its line by then.
        distributed.monitored_barrier(timeout=datetime.timedelta(seconds=5))
    distributed.destroy_process_group()


def world_size() -> int:
    """How many processes train together."""
    return _world_size


def is_main_process() -> bool:
    """Whether this is the one process that prints, draws bars and writes files."""
    return _rank == 0


def shard(tensor: Tensor) -> Tensor:
    """This process's contiguous share of the rows; in all processes together each row once, in numbers alike to one."""
    return tensor if _world_size == 1 else tensor.tensor_split(_world_size)[_rank]


def all_gather_rows(rows: Tensor, count: int) -> Tensor:
    """The shares of all processes as one tensor of that many rows, on the CPU."""
    if _world_size == 1:
        return rows
    table = torch.zeros(count, *rows.shape[1:], dtype=rows.dtype)
    shard(table).copy_(rows)
    return all_reduce(table)  # one value and zeros: exact


def all_reduce(terms: Tensor) -> Tensor:
    """Replace the terms, in place, by their sums over all processes. Raises UserError where another one has ended."""
    if _world_size > 1:
        try:
            torch.distributed.all_reduce(terms)
        except RuntimeError as error:
            raise UserError("another process has ended; its message stands above") from error
    return terms


def all_reduce_gradients(model: nn.Module) -> None:
    """Replace all gradients by their sums over all processes; one message for the whole network."""
    if _world_size == 1:
        return
    gradients: list[Any] = [weights.grad for weights in model.parameters() if weights.grad is not None]
    sums = all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, sums.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


@contextlib.contextmanager
def sync_batch_norm(model: nn.Module) -> Iterator[None]:
    """Within, batch normalisation takes mean and variance over the shares of all processes.

    torch.nn.SyncBatchNorm does not support CPUs. The layers and the names of their weights stay the same.
    """
    several = _world_size > 1
    layers = [layer for layer in model.modules() if several and isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    for layer in layers:
        vars(layer)["forward"] = functools.partial(_batch_norm, layer)  # hides that of its class
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def _batch_norm(layer: Any, values: Tensor) -> Tensor:
    """Batch normalisation with the statistics of the whole batch. values: (n, channels, ...); n may be 0 here."""
    if not layer.training:
        return type(layer).forward(layer, values)
    axes, shape = [0, *range(2, values.ndim)], [1, -1, *[1] * (values.ndim - 2)]
    exact = values.to(layer.weight.dtype)  # in mixed precision the values are less precise than the weights
    count = exact[:, 0].numel()  # of the values of each channel
    own_mean = exact.sum(axes) / max(count, 1)
    scatter = (exact - own_mean.view(shape)).square().sum(axes)
    # float64, since squares of the means are added here and subtracted again below.
    own = [count * own_mean.double(), scatter.double() + count * own_mean.double().square()]
    totals = _AllReduce.apply(torch.cat([*own, own_mean.new_tensor([count], dtype=torch.float64)]))
    count = totals[-1].detach()
    mean, square = (totals[:-1] / count).chunk(2)
    variance = square - mean.square()
    with torch.no_grad():
        layer.num_batches_tracked += 1
        layer.running_mean.lerp_(mean.to(exact), layer.momentum)
        layer.running_var.lerp_((variance * count / (count - 1).clamp(min=1)).to(exact), layer.momentum)
    scale = layer.weight * (variance + layer.eps).rsqrt().to(exact)
    return ((exact - mean.to(exact).view(shape)) * scale.view(shape) + layer.bias.view(shape)).to(values.dtype)


class _AllReduce(torch.autograd.Function):
    """The sum over all processes; the gradient of each term is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, terms: Tensor) -> Tensor:
        return all_reduce(terms.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce(gradient.clone())
