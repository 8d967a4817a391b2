"""The recorded step of a graphics card gives the weights that launching its kernels one by one gives, bit for bit."""

import contextlib
import dataclasses
from types import SimpleNamespace

import pytest
import torch

from digit_recognizer import models, recipes, training
from digit_recognizer._captured_step import CapturedStep
from digit_recognizer.data import Digits
from digit_recognizer.runtime import provenance

RECIPES = ("mlp_512_256_adam_5ep", "cnn_in_a_second", "cnn_in_seconds", "cnn_best_wide", "cnn_handwriting")


def train(name: str, optdigits: Digits, device: str) -> str:
    """The hash of the weights after two epochs, each with a smaller last batch, for the last recipe with outliers."""
    few = optdigits.train.take(torch.arange(3 * recipes.get(name).batch_size + 7))
    digits = Digits("optdigits", few, None, optdigits.test, optdigits.md5)
    recipe = dataclasses.replace(recipes.get(name), epochs=2, epochs_without_augmentation=0, validation=False)
    model, _ = training.fit(models.build(recipe).to(device), digits, recipe, quiet=True)
    return provenance.weights_hash(model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
@pytest.mark.parametrize("name", RECIPES)
def test_a_training_gets_the_same_weights(name, optdigits, monkeypatch):
    captured = train(name, optdigits, "cuda")
    monkeypatch.setattr(training, "CapturedStep", lambda model, function: function)
    assert train(name, optdigits, "cuda") == captured


class Recording(CapturedStep):
    """On the CPU: a replay computes the batch that lies where the first one lay, and writes where its results went."""

    def _capture(self, pixels, loss):
        # On a card, what is recorded is not computed; here it is, and changes the statistics once more.
        statistics = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        super()._capture(pixels, loss)
        for buffer, before in statistics:
            buffer.copy_(before)
        recorded = loss._replace(labels=self.labels)

        def replay() -> None:
            self.logits.copy_(self.forward_backward(self.pixels, recorded))
            for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
                gradient.copy_(parameter.grad)

        self.graph = SimpleNamespace(replay=replay)


@pytest.mark.parametrize("name", ["mlp_512_256_adam_5ep", "cnn_in_a_second", "cnn_in_seconds"])
def test_batches_are_copied_and_gradients_and_statistics_are_put_back(name, optdigits, monkeypatch):
    plain, function, made = train(name, optdigits, "cpu"), training.gradient_function, []

    def record(model, recipe):
        made.append(Recording(models.split_fixed(model)[1], function(model, recipe)))
        return made[-1]

    nothing = lambda *_: contextlib.nullcontext()  # noqa: E731
    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name_of, fake in {"Stream": lambda: stream, "current_stream": lambda: stream, "stream": nothing}.items():
        monkeypatch.setattr(torch.cuda, name_of, fake)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "graph", nothing)
    monkeypatch.setattr(training, "gradient_function", record)
    assert train(name, optdigits, "cpu") == plain and len(made) == 1 and made[0].kind[0][0] == made[0].pixels.shape[0]
