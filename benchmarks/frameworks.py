"""The same training by other libraries: one function each, all with the same arguments and the same result.

Network 784-512-256-10 with ReLU (the recipe's widths), Adam with epsilon 1e-8 without decay, the recipe's batches,
shuffled in each epoch, the smaller last one included, cross-entropy, float32. Each first converts the digits to the
form it handles best; then the clock runs to the trained network, building and compilation included. Initial weights
and the order of digits are each library's own. Imported by compare_frameworks, in a process for each run; optional
libraries are imported where they are used.
"""

import contextlib
import io
import itertools
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.epoch import dataloader_dataset, lower_bound_epochs, plain_model, train_with_dataloader
from digit_recognizer import data, evaluation, models, training
from digit_recognizer.data import Digits, Split
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime.device import choose_device


class Run(NamedTuple):
    """Seconds in all and of each epoch, and the predicted digits, int64 (n,); None where nothing was trained."""

    seconds: float
    epochs: list[float]
    predicted: Tensor | None


class Clock:
    """Starts when it is created. lap ends an epoch, and takes any arguments; stop returns all seconds."""

    def __init__(self) -> None:
        self.stamps = [time.perf_counter()]

    def lap(self, *_: Any) -> None:
        self.stamps.append(time.perf_counter())

    def stop(self) -> float:
        return time.perf_counter() - self.stamps[0]

    @property
    def epochs(self) -> list[float]:
        return [after - before for before, after in itertools.pairwise(self.stamps)]


def ours(train: Split, test: Tensor, recipe: Recipe) -> Run:
    """training.fit, scored on one digit after each epoch, since the others are not scored at all."""
    digits = Digits("mnist", train, None, Split(train.images[:1], train.labels[:1]), {})
    clock = Clock()
    choose_device("cpu", torch.get_num_threads())
    model, history = training.fit(models.build(recipe), digits, recipe, quiet=True)
    seconds = clock.stop()
    return Run(seconds, [metrics["seconds"] for metrics in history], evaluation.predict(model, test).argmax(1))


def dataloader(train: Split, test: Tensor, recipe: Recipe) -> Run:
    """The loop as the published projects write it, which decodes the digits in each epoch."""
    dataset = dataloader_dataset(None, recipe)
    dataset.data, dataset.targets = train
    clock = Clock()
    model, epochs = train_with_dataloader(dataset, recipe, recipe.epochs)
    return Run(clock.stop(), epochs, _predict(model, test, recipe))


def scikit_learn(train: Split, test: Tensor, recipe: Recipe) -> Run:
    """MLPClassifier without its weight decay; its verbose output marks the end of an epoch."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    class EachEpoch(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("Iteration"):
                clock.lap()
            return len(text)

    pixels, labels = _pixels(train.images, recipe).numpy(), train.labels.numpy()
    clock = Clock()
    model = MLPClassifier(
        hidden_layer_sizes=recipe.widths[1:-1], alpha=0.0, batch_size=recipe.batch_size,
        learning_rate_init=recipe.learning_rate, max_iter=recipe.epochs, verbose=True,
    )  # fmt: skip
    with warnings.catch_warnings(), contextlib.redirect_stdout(EachEpoch()):
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is intended
        model.fit(pixels, labels)
    seconds = clock.stop()
    return Run(seconds, clock.epochs, torch.from_numpy(model.predict(_pixels(test, recipe).numpy())))


def skorch(train: Split, test: Tensor, recipe: Recipe) -> Run:
    """NeuralNetClassifier with all digits; by default it holds out a fifth."""
    from skorch import NeuralNetClassifier

    pixels = _pixels(train.images, recipe)
    clock = Clock()
    model = NeuralNetClassifier(
        plain_model(recipe), criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam,
        lr=recipe.learning_rate, max_epochs=recipe.epochs, batch_size=recipe.batch_size,
        iterator_train__shuffle=True, train_split=None, verbose=0,
    )  # fmt: skip
    model.fit(pixels, train.labels)
    seconds = clock.stop()
    return Run(seconds, model.history[:, "dur"], torch.from_numpy(model.predict(_pixels(test, recipe))))


def lightning(train: Split, test: Tensor, recipe: Recipe) -> Run:
    """A LightningModule and a Trainer that does nothing but train."""
    from lightning import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = plain_model(recipe)

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=recipe.learning_rate)

        def on_train_epoch_end(self) -> None:
            clock.lap()

    digits = TensorDataset(_pixels(train.images, recipe), train.labels)
    clock = Clock()
    module = Module()
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(max_epochs=recipe.epochs, accelerator="cpu", devices=1, **off)
    trainer.fit(module, DataLoader(digits, batch_size=recipe.batch_size, shuffle=True))
    return Run(clock.stop(), clock.epochs, _predict(module.model, test, recipe))


def keras(train: Split, test: Tensor, recipe: Recipe) -> Run:
    """Sequential, compile and fit, on JAX, the backend that compare_frameworks sets."""
    import keras

    pixels, labels = _pixels(train.images, recipe).numpy(), train.labels.numpy()
    clock = Clock()
    hidden = [keras.layers.Dense(width, activation="relu") for width in recipe.widths[1:-1]]
    model = keras.Sequential([keras.Input((recipe.widths[0],)), *hidden, keras.layers.Dense(recipe.widths[-1])])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(recipe.learning_rate, epsilon=1e-8), loss)
    laps = keras.callbacks.LambdaCallback(on_epoch_end=clock.lap)
    model.fit(pixels, labels, recipe.batch_size, recipe.epochs, verbose=0, shuffle=True, callbacks=[laps])
    model.get_weights()  # waits until they are computed
    seconds = clock.stop()
    logits = model.predict(_pixels(test, recipe).numpy(), verbose=0)
    return Run(seconds, clock.epochs, torch.from_numpy(logits.argmax(1)))


def jax(train: Split, test: Tensor, recipe: Recipe) -> Run:
    """JAX at its fastest: one compiled call per epoch, see jax_epoch; initial weights are PyTorch's."""
    import jax

    pixels, digits = _pixels(train.images, recipe).numpy(), train.labels.numpy()
    pixels, digits = jax.block_until_ready(jax.device_put((pixels, digits)))
    clock = Clock()
    state = jax.device_put(jax_state(plain_model(recipe)))
    epoch = jax.jit(jax_epoch(recipe), donate_argnums=0)  # the state's memory is reused
    for _ in range(recipe.epochs):
        order = torch.randperm(len(train.labels)).numpy()
        state = jax.block_until_ready(epoch(state, order, pixels, digits))
        clock.lap()
    seconds = clock.stop()
    logits = jax_forward(state[0], _pixels(test, recipe).numpy())
    return Run(seconds, clock.epochs, torch.tensor(logits.argmax(1).tolist()))


def jax_state(model: nn.Sequential) -> tuple[Any, ...]:
    """Weights, two lists of moments (zero), number of steps. Lists hold (matrix, bias), matrices (inputs, outputs)."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    weights = [(layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()) for layer in layers]
    moments = [[(np.zeros_like(matrix), np.zeros_like(bias)) for matrix, bias in weights] for _ in range(2)]
    return weights, *moments, np.float32(0)


def jax_forward(weights: list[tuple[Any, Any]], pixels: Any) -> Any:
    """Logits (n, 10) of normalised pixels (n, 784)."""
    for matrix, bias in weights[:-1]:
        pixels = (pixels @ matrix + bias).clip(0)
    matrix, bias = weights[-1]
    return pixels @ matrix + bias


def jax_epoch(recipe: Recipe) -> Callable[..., Any]:
    """epoch(state, order, pixels, labels) -> state, to be compiled: full batches by lax.scan, then the smaller one."""
    import jax

    def epoch(state: Any, order: Any, pixels: Any, labels: Any) -> Any:
        def step(state: Any, batch: Any) -> tuple[Any, None]:
            gradients = jax.grad(_jax_loss)(state[0], pixels[batch], labels[batch])
            return _jax_adam(state, gradients, recipe.learning_rate), None

        full = len(labels) // recipe.batch_size * recipe.batch_size
        state, _ = jax.lax.scan(step, state, order[:full].reshape(-1, recipe.batch_size))
        return step(state, order[full:])[0] if full < len(labels) else state

    return epoch


def _jax_loss(weights: Any, pixels: Any, labels: Any) -> Any:
    """Mean cross-entropy."""
    import jax
    from jax import numpy as jnp

    logarithms = jax.nn.log_softmax(jax_forward(weights, pixels))
    return -jnp.take_along_axis(logarithms, labels[:, None], 1).mean()


def _jax_adam(state: Any, gradients: Any, learning_rate: float) -> Any:
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


def lower_bound(train: Split, test: Tensor, recipe: Recipe) -> Run:
    """The time that no loop with these matrix products goes below; nothing is trained."""
    choose_device("cpu", torch.get_num_threads())
    epochs = lower_bound_epochs(recipe, len(train.labels))
    return Run(sum(epochs), epochs, None)


FRAMEWORKS: dict[str, Callable[[Split, Tensor, Recipe], Run]] = {
    "ours": ours,
    "dataloader": dataloader,
    "scikit-learn": scikit_learn,
    "skorch": skorch,
    "lightning": lightning,
    "keras": keras,
    "jax": jax,
    "lower_bound": lower_bound,
}


def train(name: str, digits: Digits, recipe: Recipe) -> dict[str, Any]:
    """One training by one framework, in plain types: seconds, epochs and test accuracy."""
    torch.optim.Adam([torch.zeros(1)])  # the first optimiser imports PyTorch's compiler, and imports are not timed
    run = FRAMEWORKS[name](digits.train, digits.test.images, recipe)
    correct = None if run.predicted is None else int((run.predicted == digits.test.labels).sum())
    accuracy = None if correct is None else correct / len(digits.test.labels)
    return {"seconds": run.seconds, "epochs": [float(seconds) for seconds in run.epochs], "accuracy": accuracy}


def _pixels(images: Tensor, recipe: Recipe) -> Tensor:
    """uint8 (n, 28, 28) to normalised float32 (n, 784)."""
    return data.to_pixels(images).sub_(recipe.mean).div_(recipe.std).flatten(1)


@torch.inference_mode()
def _predict(model: nn.Module, test: Tensor, recipe: Recipe) -> Tensor:
    """Predicted digits, int64 (n,), of a network for normalised pixels."""
    return model(_pixels(test, recipe)).argmax(1)
