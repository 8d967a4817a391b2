"""The recorded step of a graphics card gives the weights that launching its kernels one by one gives, bit for bit."""

import dataclasses

import pytest
import torch

from digit_recognizer import models, recipes, training
from digit_recognizer._captured_step import CapturedStep
from digit_recognizer.data import Digits
from digit_recognizer.runtime import provenance


def test_a_cpu_records_nothing(small_recipe):
    assert not isinstance(training.gradient_function(models.build(small_recipe), small_recipe), CapturedStep)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
@pytest.mark.parametrize(
    "name", ["mlp_512_256_adam_5ep", "cnn_in_a_second", "cnn_in_seconds", "cnn_best_wide", "cnn_handwriting"]
)
def test_a_training_gets_the_same_weights(name, optdigits, monkeypatch):
    """With a smaller last batch, two epochs, and for the last recipe outliers."""
    few = optdigits.train.take(torch.arange(3 * recipes.get(name).batch_size + 7))
    digits = Digits("optdigits", few, None, optdigits.test, optdigits.md5)
    recipe = dataclasses.replace(recipes.get(name), epochs=2, epochs_without_augmentation=0, validation=False)
    weights = []
    for captured in (True, False):
        if not captured:
            plain = lambda model, function: function  # noqa: E731
            monkeypatch.setattr(training, "CapturedStep", plain)
        model = models.build(recipe).cuda()
        weights.append(provenance.weights_hash(training.fit(model, digits, recipe, quiet=True)[0]))
    assert weights[0] == weights[1]
