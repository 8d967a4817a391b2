"""The same training by hand in JAX, which is optional and imported only here and in `peers`, where it is called.

The state is (weights, first moments, second moments, number of steps), the first three lists of (matrix, bias).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from digit_recognizer.recipes.recipe import Recipe


def first_state(model: nn.Sequential) -> tuple[Any, ...]:
    """A PyTorch network's weights as NumPy's arrays, matrices (inputs, outputs), and moments of nought."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    weights = [(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in layers]
    moments = [[(np.zeros_like(matrix), np.zeros_like(bias)) for matrix, bias in weights] for _ in range(2)]
    return weights, *moments, np.float32(0)


def forward(weights: list[tuple[Any, Any]], pixels: Any) -> Any:
    """Logits (n, 10) of normalised pixels (n, 784)."""
    for matrix, bias in weights[:-1]:
        pixels = (pixels @ matrix + bias).clip(0)
    matrix, bias = weights[-1]
    return pixels @ matrix + bias


def build(recipe: Recipe) -> Callable[..., Any]:
    """epoch(state, order, pixels, labels) -> state, to be compiled: all full batches in lax.scan, then the smaller."""
    import jax

    def epoch(state: Any, order: Any, pixels: Any, labels: Any) -> Any:
        def step(state: Any, batch: Any) -> tuple[Any, None]:
            gradients = jax.grad(_loss)(state[0], pixels[batch], labels[batch])
            return _adam(state, gradients, recipe.learning_rate), None

        full = len(labels) // recipe.batch_size * recipe.batch_size
        state, _ = jax.lax.scan(step, state, order[:full].reshape(-1, recipe.batch_size))
        return step(state, order[full:])[0] if full < len(labels) else state

    return epoch


def _loss(weights: Any, pixels: Any, labels: Any) -> Any:
    """Mean cross-entropy."""
    import jax
    from jax import numpy as jnp

    logarithms = jax.nn.log_softmax(forward(weights, pixels))
    return -jnp.take_along_axis(logarithms, labels[:, None], 1).mean()


def _adam(state: Any, gradients: Any, learning_rate: float) -> Any:
    """The state after one step of Adam, as PyTorch defines it."""
    import jax
    from jax import numpy as jnp

    weights, first, second, number = state
    number += 1
    first = jax.tree.map(lambda moment, gradient: 0.9 * moment + 0.1 * gradient, first, gradients)
    second = jax.tree.map(lambda moment, gradient: 0.999 * moment + 0.001 * gradient**2, second, gradients)
    rate, root = learning_rate / (1 - 0.9**number), jnp.sqrt(1 - 0.999**number)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + 1e-8), weights, first, second)
    return weights, first, second, number
