"""Train one network in several processes, started by torchrun: each computes its shard, and all hold the same weights.

In a single process every function here does nothing. Backends: gloo for CPUs, nccl for GPUs.
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

    Raises UserError where that fails: the port is in use, or a variable of torchrun is missing.
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
    """Wait for the others, then end. After a traceback end at once, which the others notice."""
    if hasattr(sys, "last_type"):
        sys.stderr.flush()
        os._exit(1)
    from torch import distributed

    with contextlib.suppress(ValueError, RuntimeError):  # nccl has no such barrier; a process may have ended
        # torchrun stops all as soon as one ends with an error: the main process must have printed its line by then.
        distributed.monitored_barrier(timeout=datetime.timedelta(seconds=5))
    distributed.destroy_process_group()


def world_size() -> int:
    """Return the number of processes."""
    return _world_size


def is_main_process() -> bool:
    """Return whether this is the process that prints, shows progress bars and writes files."""
    return _rank == 0


def shard(tensor: Tensor) -> Tensor:
    """Return this process's rows: contiguous, each row in one process, the counts equal to within one."""
    return tensor if _world_size == 1 else tensor.tensor_split(_world_size)[_rank]


def all_gather_rows(rows: Tensor, count: int) -> Tensor:
    """Return the shards of all processes as one tensor on the CPU. count: of its rows."""
    if _world_size == 1:
        return rows
    gathered = torch.zeros(count, *rows.shape[1:], dtype=rows.dtype)
    shard(gathered).copy_(rows)
    return all_reduce(gathered)  # exact: one term of each sum is not zero


def all_reduce(tensor: Tensor) -> Tensor:
    """Replace a tensor, in place, by its sum over all processes. Raises UserError where one of them has ended."""
    if _world_size > 1:
        try:
            torch.distributed.all_reduce(tensor)
        except RuntimeError as error:
            raise UserError("another process has ended; its message is above") from error
    return tensor


def all_reduce_gradients(model: nn.Module) -> None:
    """Replace all gradients by their sums over all processes, in one message."""
    if _world_size == 1:
        return
    gradients: list[Any] = [weights.grad for weights in model.parameters() if weights.grad is not None]
    sums = all_reduce(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, sums.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


@contextlib.contextmanager
def sync_batch_norm(model: nn.Module) -> Iterator[None]:
    """Within this context, batch normalisation takes mean and variance over the shards of all processes.

    torch.nn.SyncBatchNorm does not support CPUs. The layers and the names of their weights do not change.
    """
    several = _world_size > 1
    layers = [layer for layer in model.modules() if several and isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    for layer in layers:
        vars(layer)["forward"] = functools.partial(_batch_norm, layer)  # hides that of the class
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def _batch_norm(layer: Any, values: Tensor) -> Tensor:
    """Normalise with the statistics of the global batch. values: (n, channels, ...); n may be 0 here."""
    if not layer.training:
        return type(layer).forward(layer, values)
    axes, shape = [0, *range(2, values.ndim)], [1, -1, *[1] * (values.ndim - 2)]
    exact = values.to(layer.weight.dtype)  # in mixed precision the values are bfloat16, the weights float32
    count = exact[:, 0].numel()  # values per channel
    own_mean = exact.sum(axes) / max(count, 1)
    scatter = (exact - own_mean.view(shape)).square().sum(axes)
    # float64, since squares of the means are added here and subtracted below.
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
