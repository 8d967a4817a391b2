"""The fast path of plain fully connected networks: the same arithmetic as autograd and Adam, with less around it.

A step of 784-512-256-10 takes a millisecond, of which autograd's graph, new gradients and the wrapper around Adam's
kernel take a fifth. Here the chain rule is written out for linear layers with ReLU between, in buffers made once.
Nothing here knows a recipe: the loss comes with its gradient by the logits. Weights are equal to the bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from digit_recognizer.models import MLP

aten = torch.ops.aten


class FusedMLP:
    """Computes the gradients of a plain MLP: normalisation, linear layers with ReLU between them, logits at the end.

    No layer after the flattening is called, so hooks on layers do not see a batch. Each call overwrites the gradients
    of the one before.
    """

    def __init__(self, model: nn.Module) -> None:
        self.normalize, self.flatten, *layers = model.children()
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        # The same memory under names that are quicker to reach: weight, its transpose, bias, and their gradients.
        self.layers = [
            (layer.weight.detach(), layer.weight.detach().t(), layer.bias.detach(), layer.weight.grad, layer.bias.grad)
            for layer in linear
        ]
        self.widths = [layer.out_features for layer in linear[:-1]]
        # By batch size, of each hidden layer, (n, width): the activations, and the gradients by them. A recorded step
        # (see CapturedStep) goes on to use those of its size.
        self.buffers: dict[int, tuple[list[Tensor], list[Tensor]]] = {}

    @staticmethod
    def supports(model: nn.Module) -> bool:
        """Whether the model is normalisation and flattening, then linear layers with ReLU between them."""
        layers = list(model.children())[2:]
        return (
            isinstance(model, MLP)
            and all(isinstance(layer, nn.Linear) == (number % 2 == 0) for number, layer in enumerate(layers))
            and all(isinstance(layer, nn.ReLU) for layer in layers[1::2])
        )

    @torch.no_grad()
    def __call__(self, pixels: Tensor, loss: Any) -> Tensor:
        """Give each parameter the gradient of the loss. Returns the logits, (n, 10).

        pixels: float32 (n, 1, 28, 28) in [0, 1]. loss.gradient: from the logits to the loss's gradient by them.
        """
        inputs = self.flatten(self.normalize(pixels))
        count = len(inputs)
        if count not in self.buffers:  # the first batch, or a smaller last one
            activations, errors = ([inputs.new_empty(count, width) for width in self.widths] for _ in range(2))
            self.buffers[count] = activations, errors
        activations, errors = self.buffers[count]
        values = [inputs]  # what goes into each layer, (n, width)
        for (_, transposed, bias, _, _), activation in zip(self.layers, activations, strict=False):
            values.append(torch.addmm(bias, values[-1], transposed, out=activation).relu_())
        _, transposed, bias, _, _ = self.layers[-1]
        logits = torch.addmm(bias, values[-1], transposed)
        error = loss.gradient(logits)
        for number in reversed(range(len(self.layers))):
            weight, _, _, weight_grad, bias_grad = self.layers[number]
            torch.mm(error.t(), values[number], out=weight_grad)
            torch.sum(error, 0, out=bias_grad)
            if number:  # pixels need no gradient; elsewhere none passes where ReLU was zero
                error = torch.mm(error, weight, out=errors[number - 1])
                aten.threshold_backward.grad_input(error, values[number], 0, grad_input=error)
        return logits


class FusedAdam(torch.optim.Adam):
    """torch.optim.Adam(fused=True) for the CPU, whose step calls the fused kernel and nothing else."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the weights by their gradients."""
        [group] = self.param_groups
        if not self.state:  # which Adam makes at its first step
            super().step()
            return
        state = self.state.values()  # in the order of the weights
        first, second, steps = ([of[name] for of in state] for name in ("exp_avg", "exp_avg_sq", "step"))
        beta1, beta2 = group["betas"]
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            group["params"], [weights.grad for weights in group["params"]], first, second, [], steps, lr=group["lr"],
            beta1=beta1, beta2=beta2, weight_decay=0.0, eps=group["eps"], amsgrad=False, maximize=False,
        )  # fmt: skip

    step.hooked = True  # type: ignore[attr-defined]  # else each step is announced to the profiler: a fortieth of it
