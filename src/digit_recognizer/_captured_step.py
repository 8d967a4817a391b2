"""The fast path of a graphics card: the kernels of a step as one CUDA graph, launched at once.

A step of our networks is many small kernels. Launching each from Python takes longer than computing them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

CALLS_BEFORE_RECORDING = 3  # of the first batch, in which the libraries choose kernels and take their memory


class CapturedStep:
    """Forward, loss and backward, recorded at the first batch and replayed for all others of its size.

    A batch of another size is computed launch by launch. Hooks on layers do not see those that are replayed. Each call
    overwrites the gradients and the logits of the one before.
    """

    def __init__(self, model: nn.Module, forward_backward: Callable[[Tensor, Any], Tensor]) -> None:
        self.model, self.forward_backward = model, forward_backward
        self.parameters = [*model.parameters()]
        self.kind: tuple[Any, ...] | None = None  # of the batches that are replayed

    def __call__(self, pixels: Tensor, loss: Any) -> Tensor:
        """Give each parameter the gradient of the loss. Returns the logits, (n, 10).

        pixels: float32 (n, 1, 28, 28) in [0, 1], or maps of fixed filters, on the card. loss: a CrossEntropy.
        """
        kind = (pixels.shape, loss.labels.shape, *loss[1:])
        if self.kind is None:
            self._capture(pixels, loss)
            self.kind = kind
        if kind != self.kind:
            return self.forward_backward(pixels, loss)
        self.pixels.copy_(pixels)
        self.labels.copy_(loss.labels)
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient  # another may stand there after a batch of another size
        return self.logits

    def _capture(self, pixels: Tensor, loss: Any) -> None:
        """Record a step without taking it: the statistics of batch normalisation stay."""
        self.pixels, self.labels = pixels.clone(), loss.labels.clone()
        loss = loss._replace(labels=self.labels)
        statistics = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(CALLS_BEFORE_RECORDING):
                self.forward_backward(self.pixels, loss)
            for buffer, before in statistics:
                buffer.copy_(before)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.logits = self.forward_backward(self.pixels, loss)
        self.gradients = [parameter.grad for parameter in self.parameters]
