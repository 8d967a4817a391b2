"""Fixed filters: what they are, that their maps are those of the network, and that training leaves them alone."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from digit_recognizer import data, evaluation, fixed_filters, models, recipes, training
from digit_recognizer.data import Digits
from digit_recognizer.recipes.recipe import Augmentation, Convolution
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.errors import UserError

RECIPE = dataclasses.replace(recipes.get("cnn_in_a_second"), batch_size=64, precision="float32")
FILTERS, SECOND = RECIPE.convolutions


@pytest.fixture
def model(optdigits):
    model = models.build(RECIPE)
    fixed_filters.set_filters(model, optdigits.train)
    return model


@pytest.fixture
def digits(optdigits) -> Digits:
    return dataclasses.replace(optdigits, train=optdigits.train.take(torch.arange(700)))


@pytest.mark.parametrize("pool", [True, False])
def test_maps_are_what_the_fixed_layers_compute(pool, optdigits):
    layers = (dataclasses.replace(FILTERS, pool=pool), SECOND)
    recipe = dataclasses.replace(RECIPE, convolutions=layers, widths=(64 * (9 if pool else 36), 10))
    model, train = models.build(recipe), optdigits.train.take(torch.arange(30))
    fixed_filters.set_filters(model, train)
    fixed, rest = models.split_fixed(model)
    expected = data.to_pixels(train.images)
    for layer in fixed:
        expected = layer(expected)
    maps, labels = fixed_filters.apply_fixed(model, train, torch.float32)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(labels, train.labels) and maps.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(rest.eval()(maps), model.eval()(data.to_pixels(train.images)), rtol=1e-4, atol=1e-4)
    assert fixed_filters.apply_fixed(model, train, torch.bfloat16).images.dtype == torch.bfloat16


def test_filters_are_components_of_patches_with_both_signs(model, mnist):
    filters = models.first_layer_weights(model)
    assert filters.shape == (32, 6, 6) and torch.equal(filters[:16], -filters[16:])
    directions = F.normalize(filters[:16].flatten(1))
    torch.testing.assert_close(directions @ directions.T, torch.eye(16), atol=1e-4, rtol=0)
    on_mnist = models.build(RECIPE)
    fixed_filters.set_filters(on_mnist, mnist.train)
    normalize, layer = models.split_fixed(on_mnist)[0][:2]
    variance = F.conv2d(
        normalize(data.to_pixels(mnist.train.images[:200])), F.normalize(layer.weight[:16].flatten(1)).view(16, 1, 6, 6)
    )
    first, second, *_, last = variance.square().mean((0, 2, 3)).tolist()
    assert first > second > 10 * last


def test_training_leaves_the_filters_and_learns_the_rest(digits, model):
    trained, history = training.fit(models.build(RECIPE), digits, dataclasses.replace(RECIPE, epochs=3), quiet=True)
    fixed_filters.set_filters(model, digits.train)
    assert torch.equal(models.first_layer_weights(trained), models.first_layer_weights(model))
    scores = evaluation.score(evaluation.predict(trained, digits.test.images), digits.test.labels)
    assert scores.accuracy > 0.85 and history[-1]["held_out_accuracy"] == scores.accuracy
    assert models.parameter_count(trained) == RECIPE.parameter_count


def test_a_training_resumes_to_the_same_weights(digits):
    states, recipe = [], dataclasses.replace(RECIPE, epochs=2)
    keep = lambda state: states.append(copy.deepcopy(state))  # noqa: E731
    whole, _ = training.fit(models.build(recipe), digits, recipe, quiet=True, on_epoch=keep)
    resumed, _ = training.fit(models.build(recipe), digits, recipe, quiet=True, resume=states[0])
    assert provenance.weights_hash(resumed) == provenance.weights_hash(whole)


def test_blank_digits_are_refused_in_one_line(digits):
    blank = dataclasses.replace(digits, train=data.Split(torch.zeros_like(digits.train.images), digits.train.labels))
    with pytest.raises(UserError, match="no strokes to take fixed filters from"):
        training.fit(models.build(RECIPE), blank, RECIPE, quiet=True)


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.01), ("sgd", 0.1)])
@pytest.mark.parametrize("pool", [True, False])
def test_other_optimisers_and_layers_train(optimizer, rate, pool, digits):
    """A kernel of 3x3 with zeros around, an odd number of positions, Adam, which has a fast path of its own."""
    for layer, side in (
        (Convolution(6, pool=pool, fixed=True), 28),
        (Convolution(4, size=2, pool=pool, fixed=True), 27),
    ):
        features = layer.channels * (side // 2 if pool else side) ** 2
        recipe = dataclasses.replace(
            RECIPE, convolutions=(layer,), widths=(features, 10), optimizer=optimizer, learning_rate=rate,
            weight_decay=0.0, momentum=0.0, nesterov=False, epochs=2,
        )  # fmt: skip
        _, history = training.fit(models.build(recipe), digits, recipe, quiet=True)
        assert history[-1]["train_accuracy"] > 0.5


def test_a_batch_of_one_is_refused_in_one_line(digits):
    for size in (1, 699):
        with pytest.raises(UserError, match="leave a batch of one"):
            training.fit(models.build(RECIPE), digits, dataclasses.replace(RECIPE, batch_size=size), quiet=True)


def test_other_networks_have_no_fixed_layer(digits):
    for name in ("mlp_512_256_adam_5ep", "cnn_in_seconds"):
        model = models.build(recipes.get(name))
        assert models.split_fixed(model) == ([], model)
        assert fixed_filters.apply_fixed(model, digits.train, torch.float32) is digits.train


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"convolutions": (Convolution(4), FILTERS), "widths": (32 * 36, 10)},
            "only the first convolution may be fixed",
        ),
        ({"convolutions": (Convolution(2, size=1, fixed=True),), "widths": (2 * 784, 10)}, "nor of size 1"),
        ({"side": 32, "widths": (64 * 9, 10)}, "on 28 pixels"),
        ({"convolutions": (dataclasses.replace(FILTERS, channels=31), SECOND)}, "must be even, and at most 72"),
        ({"convolutions": (dataclasses.replace(FILTERS, channels=74), SECOND)}, "must be even, and at most 72"),
        ({"augmentation": Augmentation(shift=1)}, "no augmentation and no outliers"),
        ({"outlier_fraction": 0.1}, "no augmentation and no outliers"),
        ({"widths": (576, 0, 10)}, "widths from 576 to 10"),
    ],
)
def test_recipes_that_fixed_filters_cannot_follow_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(RECIPE, **changes)
