"""The gradients of a plain fully connected network, written out: the chain rule, from the last layer to the first.

The same arithmetic as autograd's, without its bookkeeping, which costs so small a network a tenth of each step.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digit_recognizer.models import MLP

aten = torch.ops.aten


def fits(model: nn.Module) -> bool:
    """Whether it is normalisation, then linear layers with ReLU between them, with logits at the end."""
    return isinstance(model, MLP) and all(isinstance(layer, nn.Linear | nn.ReLU) for layer in list(model)[2:])


@torch.no_grad()
def gradients(model: nn.Module, pixels: Tensor, labels: Tensor, whole: int, label_smoothing: float = 0.0) -> Tensor:
    """Give each weight the gradient of training.batch_loss with the same arguments; returns the logits, (n, 10).

    Of the model's layers only the first two are called, so that other hooks do not see a batch.
    model: one that fits; pixels: float32 (n, 1, 28, 28) in [0, 1]; labels: int64 (n,), from 0 to 9.
    """
    normalize, flatten, *layers = model.children()
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]  # between them ReLU
    values = [flatten(normalize(pixels))]  # what goes into each, (n, width), and at last what comes out
    for layer in linear:
        value = F.linear(values[-1], layer.weight, layer.bias)
        values.append(value if layer is linear[-1] else value.relu_())
    logits = values.pop()
    rest = label_smoothing / 10  # what is wanted of each digit that it is not
    wanted = torch.full_like(logits, rest).scatter_(1, labels.unsqueeze(1), 1 - label_smoothing + rest)
    # The loss is the sum of -wanted * log_softmax / whole; its gradient by the logits (softmax - wanted) / whole.
    error = aten._log_softmax_backward_data(wanted / -whole, logits.log_softmax(1), 1, logits.dtype)
    for layer, value in zip(reversed(linear), reversed(values), strict=True):
        layer.weight.grad, layer.bias.grad = error.t() @ value, error.sum(0)
        if layer is not linear[0]:  # the pixels need none; elsewhere none passes where ReLU let nothing through
            error = aten.threshold_backward(error @ layer.weight, value, 0)
    return logits
