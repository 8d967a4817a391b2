"""What no training loop goes below: the matrix products, and Adam's way through the memory."""

import itertools
import time
from typing import Any

import torch

from digit_recognizer.recipes.recipe import Recipe


def epochs(recipe: Recipe, digits: int) -> list[float]:
    """Seconds of each epoch of a fully connected recipe's bare products and optimiser steps; nothing is trained.

    Holds, for each full batch, the products of all layers forward and backward, on buffers made before, always the
    same and so in the cache; and one pass of fused Adam that reads weights, gradients and two moments, each in one
    piece, and writes all but the gradients. Leaves out: choosing and copying batches, normalisation, adding and
    summing biases, ReLU, the loss, autograd, the last smaller batch, counting and showing.
    """
    weights, gradients, first, second = (torch.rand(recipe.parameter_count) / 100 for _ in range(4))
    values, errors = ([torch.rand(recipe.batch_size, width) for width in recipe.widths] for _ in range(2))
    products, start = [], 0  # of each: left, right, and where to
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(recipe.widths)):
        part = slice(start, start + inputs * outputs)
        matrix, gradient = weights[part].view(outputs, inputs), gradients[part].view(outputs, inputs)
        start = part.stop + outputs
        products += [(values[layer], matrix.t(), values[layer + 1]), (errors[layer + 1].t(), values[layer], gradient)]
        products += [(errors[layer + 1], matrix, errors[layer])] if layer else []  # pixels need no gradient
    # A learning rate of nought leaves the weights as they are; the arithmetic and the memory's traffic are the same.
    settings: dict[str, Any] = {"lr": 0.0, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": 1e-8}
    adam: Any = ([weights], [gradients], [first], [second], [], [torch.ones(())])
    stamps = [time.perf_counter()]
    for _ in range(recipe.epochs):
        for _ in range(digits // recipe.batch_size):
            for left, right, out in products:
                torch.mm(left, right, out=out)
            torch._fused_adam_(*adam, amsgrad=False, maximize=False, **settings)
        stamps.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(stamps)]
