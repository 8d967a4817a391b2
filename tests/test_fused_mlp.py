"""The fast path of plain MLPs gives autograd's gradients and Adam's steps, bit for bit, whatever the loss is."""

import copy
import dataclasses

import pytest
import torch

from digit_recognizer import data, models, recipes, training
from digit_recognizer._fused_mlp import FusedAdam, FusedMLP
from digit_recognizer.data.augmentation import OUTLIER_LABEL
from digit_recognizer.recipes.recipe import Augmentation
from digit_recognizer.runtime import provenance
from digit_recognizer.training import CrossEntropy

PLAIN = [recipe for recipe in recipes.RECIPES.values() if FusedMLP.supports(models.build(recipe))]


def batch(optdigits, count) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = optdigits.train.take(torch.arange(count))
    return data.to_pixels(images), labels


def gradients(model) -> list[torch.Tensor]:
    return [weights.grad.clone() for weights in model.parameters()]


def by_autograd(model, pixels, loss) -> tuple[torch.Tensor, list[torch.Tensor]]:
    return training._forward_backward(model, "float32", pixels, loss), gradients(model)


@pytest.mark.parametrize("recipe", PLAIN, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("count", [64, 29, 1])
def test_gradients_and_logits_are_autograds_bit_for_bit(recipe, count, optdigits):
    model = models.build(recipe)
    pixels, labels = batch(optdigits, count)
    logits, expected = by_autograd(model, pixels, CrossEntropy(labels, count, 0.0))
    found = FusedMLP(model)(pixels, CrossEntropy(labels, count, 0.0))
    assert torch.equal(found, logits) and not found.requires_grad
    assert all(map(torch.equal, gradients(model), expected))
    assert all(weights.grad.is_contiguous() and weights.grad.abs().sum() > 0 for weights in model.parameters())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("count", "outliers"), [(32, 0), (64, 0), (24, 8), (8, 24)])
def test_a_loss_has_autograds_gradient(smoothing, count, outliers):
    """Of a whole batch and of a share of one, with outliers and without, by the logits."""
    logits = torch.randn(32, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(32) % 10
    labels[32 - outliers :] = OUTLIER_LABEL
    loss = CrossEntropy(labels, count, smoothing)
    (expected,) = torch.autograd.grad(loss(logits), logits)
    torch.testing.assert_close(loss.gradient(logits.detach()), expected, rtol=1e-5, atol=1e-7)


def test_a_batch_overwrites_the_gradients_of_the_one_before_and_not_its_logits(optdigits):
    model, other = models.build(recipes.get()), models.build(recipes.get())
    pixels, labels = batch(optdigits, 96)
    forward_backward, pairs = FusedMLP(model), []
    for part in (slice(0, 64), slice(64, 96), slice(32, 96), slice(0, 0)):  # the last: a share of too small a batch
        loss = CrossEntropy(labels[part], 64, 0.0)
        found = forward_backward(pixels[part], loss)
        expected, expected_gradients = by_autograd(other, pixels[part], loss)
        torch.testing.assert_close(gradients(model), expected_gradients, rtol=1e-5, atol=1e-8)
        pairs.append((found, expected))
    for found, expected in pairs:
        torch.testing.assert_close(found, expected)


def test_which_models_are_plain():
    plain, names = recipes.get(), {recipe.name for recipe in PLAIN}
    assert plain in PLAIN and {"mlp_128_adam", "mlp_128_64_sgd_15ep"} < names and not {"mlp_best", "cnn_best"} & names
    for output in ("log_softmax", "softmax"):
        assert not FusedMLP.supports(models.build(recipes.get(output=output)))
    altered = models.build(plain)
    altered[3] = torch.nn.Tanh()
    assert not FusedMLP.supports(altered)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label_smoothing": 0.1},
        {"outlier_fraction": 0.25},
        {"augmentation": Augmentation(shift=1, styles=0.5)},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "learning_rate": 0.05},
        {"weight_decay": 0.01},
        {"schedule": "triangle"},
        {"precision": "bfloat16"},
    ],
    ids=str,
)
def test_no_field_of_a_recipe_is_ignored(changes, optdigits, small_recipe, monkeypatch):
    """Each field trains a plain MLP to the weights of autograd, and to others than without it."""
    few = dataclasses.replace(optdigits, train=optdigits.train.take(torch.arange(200)))

    def weights(recipe) -> torch.Tensor:
        model, _ = training.fit(models.build(recipe), few, recipe, quiet=True)
        return torch.nn.utils.parameters_to_vector(model.parameters()).detach()

    recipe = dataclasses.replace(small_recipe, epochs=1, **changes)
    found, without = weights(recipe), weights(dataclasses.replace(small_recipe, epochs=1))
    monkeypatch.setattr(FusedMLP, "supports", lambda model: False)
    torch.testing.assert_close(found, weights(recipe), rtol=1e-4, atol=1e-5)
    assert torch.equal(found, without) is (not changes)


def test_steps_are_adams_bit_for_bit_with_its_state(optdigits, small_recipe):
    pairs = []
    for kind in (FusedAdam, torch.optim.Adam):
        model = models.build(small_recipe)
        optimizer = kind(model.parameters(), lr=0.001, fused=True)
        pixels, labels = batch(optdigits, 64)
        for rate in (0.001, 0.002, 0.0005):
            FusedMLP(model)(pixels, CrossEntropy(labels, 64, 0.0))
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
        pairs.append((model, copy.deepcopy(optimizer.state_dict())))
    (model, state), (expected, expected_state) = pairs
    fresh = provenance.weights_hash(models.build(small_recipe))
    assert provenance.weights_hash(model) == provenance.weights_hash(expected) != fresh
    torch.testing.assert_close(state, expected_state, rtol=0, atol=0)
