"""The gradients written out are autograd's, and the step taken directly is the optimiser's."""

import copy
import dataclasses

import pytest
import torch

from digit_recognizer import _fused_mlp, data, models, optimizers, recipes, training
from digit_recognizer.recipes.recipe import Augmentation
from digit_recognizer.runtime import provenance

PLAIN = [recipe for recipe in recipes.RECIPES.values() if _fused_mlp.fits(models.build(recipe), recipe)]


def by_autograd(model, *arguments) -> torch.Tensor:
    model.zero_grad()
    logits = model(arguments[0])
    training.batch_loss(logits, *arguments[1:]).backward()
    return logits.detach()


def batch(optdigits, count) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = optdigits.train.take(torch.arange(count))
    return data.to_pixels(images), labels


def written_out(model, recipe, pixels, labels, whole) -> torch.Tensor:
    with torch.no_grad():
        inputs = model[1](model[0](pixels))
    return _fused_mlp.Gradients(model, recipe)(inputs, labels, whole)


def gradients(model) -> list[torch.Tensor]:
    return [weights.grad.clone() for weights in model.parameters()]


@pytest.mark.parametrize("recipe", PLAIN, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("count", [64, 29, 1])
def test_gradients_and_logits_are_autograds_bit_for_bit(recipe, count, optdigits):
    model = models.build(recipe)
    pixels, labels = batch(optdigits, count)
    expected = by_autograd(model, pixels, labels, count, 0.0), gradients(model)
    model.zero_grad()
    found = written_out(model, dataclasses.replace(recipe, batch_size=64), pixels, labels, count), gradients(model)
    assert torch.equal(found[0], expected[0]) and not found[0].requires_grad
    assert all(map(torch.equal, found[1], expected[1]))
    assert all(gradient.is_contiguous() and gradient.abs().sum() > 0 for gradient in found[1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_shares_and_label_smoothing_are_those_of_the_loss(smoothing, optdigits):
    recipe = recipes.get(label_smoothing=smoothing)
    model = models.build(recipe)
    pixels, labels = batch(optdigits, 24)  # a share of a batch of 64
    expected = by_autograd(model, pixels, labels, 64, smoothing), gradients(model)
    found = written_out(model, recipe, pixels, labels, 64), gradients(model)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


def test_a_batch_writes_over_the_gradients_of_the_one_before_and_not_over_its_logits(optdigits):
    model, other = models.build(recipes.get()), models.build(recipes.get())
    pixels, labels = batch(optdigits, 96)
    with torch.no_grad():
        inputs = model[1](model[0](pixels))
    step, pairs = _fused_mlp.Gradients(model, recipes.get()), []
    for part in (slice(0, 64), slice(64, 96), slice(32, 96), slice(0, 0)):  # the last: a share of too small a batch
        found = step(inputs[part], labels[part], 64)
        pairs.append((found, by_autograd(other, pixels[part], labels[part], 64, 0.0)))
        torch.testing.assert_close(gradients(model), gradients(other), rtol=1e-5, atol=1e-8)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("batch_size", [64, 40, 600])
def test_batches_are_those_of_data_as_the_first_linear_layer_sees_them(batch_size, optdigits):
    model = models.build(recipes.get())
    ours, usual = (torch.Generator().manual_seed(0) for _ in range(2))
    found = list(_fused_mlp.batches(model, optdigits.train, batch_size, ours))
    expected = list(data.batches(optdigits.train, batch_size, usual))
    assert len(found) == len(expected) and len(optdigits.train.labels) > 2 * _fused_mlp.TOGETHER
    for (inputs, labels, whole), (images, truths) in zip(found, expected, strict=True):
        assert whole == len(truths) and torch.equal(labels, truths)
        assert torch.equal(inputs, model[0](data.to_pixels(images)).flatten(1))
    assert torch.equal(ours.get_state(), usual.get_state())


def test_the_published_networks_with_logits_are_plain_and_others_are_not():
    assert recipes.get() in PLAIN
    for name, plain in (
        ("mlp_128_adam", True),
        ("mlp_128_64_sgd_15ep", True),
        ("mlp_best", False),
        ("cnn_best", False),
    ):
        recipe = recipes.get(name)
        assert _fused_mlp.fits(models.build(recipe), recipe) is plain
    augmented = {"augmentation": Augmentation(shift=1)}
    for changes in (
        {"output": "log_softmax"}, {"output": "softmax"}, {"precision": "bfloat16"}, {"outlier_fraction": 0.25},
        augmented,
    ):  # fmt: skip
        recipe = recipes.get(**changes)
        assert not _fused_mlp.fits(models.build(recipe), recipe)


@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.05}, {"weight_decay": 0.01}],
    ids=["adam", "sgd", "adamw"],
)
def test_steps_are_the_optimisers_bit_for_bit_with_its_state(changes, optdigits, small_recipe):
    recipe = dataclasses.replace(small_recipe, **changes)
    pairs = []
    for step in (optimizers.step, lambda optimizer: optimizer.step()):
        model = models.build(recipe)
        optimizer = optimizers.make(model, recipe)
        for rate in (0.1, 0.2, 0.05):
            written_out(model, recipe, *batch(optdigits, 64), 64)
            optimizer.param_groups[0]["lr"] = rate * recipe.learning_rate
            step(optimizer)
        pairs.append((model, copy.deepcopy(optimizer.state_dict())))
    (model, state), (expected, expected_state) = pairs
    assert (
        provenance.weights_hash(model)
        == provenance.weights_hash(expected)
        != provenance.weights_hash(models.build(recipe))
    )
    torch.testing.assert_close(state, expected_state, rtol=0, atol=0)


@pytest.mark.parametrize(
    "changes", [{"outlier_fraction": 0.25}, {"precision": "bfloat16"}, {"augmentation": Augmentation(shift=1)}], ids=str
)
def test_what_is_more_than_plain_goes_by_autograd(changes, optdigits, small_recipe, monkeypatch):
    few = dataclasses.replace(optdigits, train=optdigits.train.take(torch.arange(128)))
    recipe = dataclasses.replace(small_recipe, epochs=1, **changes)
    monkeypatch.setattr(_fused_mlp, "Gradients", None)
    assert training.fit(models.build(recipe), few, recipe, quiet=True)[1][0]["train_loss"] > 0
