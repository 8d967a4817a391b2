"""The gradients of a plain fully connected network, written out: the chain rule, from the last layer to the first.

The same arithmetic as autograd's, without its bookkeeping, in memory that is made once, and with several batches
normalised at a time: with two threads that saves so small a network a fifth of each step, with one a seventh.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from digit_recognizer import data
from digit_recognizer.data import Split
from digit_recognizer.models import MLP
from digit_recognizer.recipes.recipe import Augmentation, Recipe
from digit_recognizer.runtime import distributed

TOGETHER = 512  # digits normalised at a time, or one batch where that is larger; more of them gain nothing

aten = torch.ops.aten


def fits(model: nn.Module, recipe: Recipe) -> bool:
    """Whether the network is normalisation, then linear layers with ReLU between them, with logits at the end.

    And whether the recipe asks for nothing more: it sees the digits as they are and computes in float32.
    """
    plain = recipe.precision == "float32" and recipe.augmentation == Augmentation() and not recipe.outlier_fraction
    return plain and isinstance(model, MLP) and all(isinstance(layer, nn.Linear | nn.ReLU) for layer in list(model)[2:])


@torch.no_grad()
def batches(
    model: nn.Module, train: Split, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """This process's share of each batch as it comes to the first linear layer, float32 (n, 784), and its labels, (n,).

    With them how many digits the whole batch has. Normalisation, the model's first layer, sees several batches at once.
    """
    normalize, flatten, *_ = model.children()
    several = max(1, TOGETHER // batch_size) * batch_size
    for images, labels in data.batches(train, several, generator):
        inputs = flatten(normalize(data.to_pixels(images)))
        for few, truths in zip(inputs.split(batch_size), labels.split(batch_size), strict=True):
            yield distributed.shard(few), distributed.shard(truths), len(truths)


class Gradients:
    """Called with a batch, it gives each weight of a model that fits the gradient of training.batch_loss.

    Each call writes over the gradients of the one before. No layer of the model is called, so that hooks do not see a
    batch; only those on the first two layers do, which `batches` calls.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        """recipe: what batch_loss asks for, and the size that no batch exceeds."""
        for weights in model.parameters():
            weights.grad = torch.empty_like(weights)
        linear = [layer for layer in model.children() if isinstance(layer, nn.Linear)]  # between them ReLU
        # The same memory under names that are quicker to reach.
        self.layers = [(part.weight.detach(), part.bias.detach(), part.weight.grad, part.bias.grad) for part in linear]
        biases = [bias for _, bias, _, _ in self.layers[:-1]]
        # What comes out of each layer but the last, and its error.
        self.values, self.errors = ([bias.new_empty(recipe.batch_size, len(bias)) for bias in biases] for _ in range(2))
        rest = recipe.label_smoothing / 10  # what is wanted of each digit that it is not
        # A row for each label.
        self.wanted = linear[-1].bias.new_full((10, 10), rest).fill_diagonal_(1 - recipe.label_smoothing + rest)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, labels: Tensor, whole: int) -> Tensor:
        """Inputs, labels and the size of the whole batch, as batches gives them; returns the logits, (n, 10)."""
        count = len(inputs)
        values = [inputs]  # what goes into each layer, (n, width)
        for (weight, bias, _, _), room in zip(self.layers[:-1], self.values, strict=True):
            values.append(torch.addmm(bias, values[-1], weight.t(), out=room[:count]).relu_())
        weight, bias, _, _ = self.layers[-1]
        logits = torch.addmm(bias, values[-1], weight.t())
        # The loss is the sum of -wanted * log_softmax / whole; its gradient by the logits (softmax - wanted) / whole.
        by_logarithms = self.wanted.index_select(0, labels).div_(-whole)
        error = torch._log_softmax_backward_data(by_logarithms, logits.log_softmax(1), 1, logits.dtype)
        for number in reversed(range(len(self.layers))):
            weight, _, of_weight, of_bias = self.layers[number]
            torch.mm(error.t(), values[number], out=of_weight)
            torch.sum(error, 0, out=of_bias)
            if number:  # the pixels need none; elsewhere none passes where ReLU let nothing through
                error = torch.mm(error, weight, out=self.errors[number - 1][:count])
                aten.threshold_backward.grad_input(error, values[number], 0, grad_input=error)
        return logits
