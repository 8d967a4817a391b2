"""The recipes against the sources they come from, and what they refuse."""

import dataclasses
import math

import pytest
from facts import PARAMETERS

from digit_recognizer import recipes
from digit_recognizer.recipes.ours import OURS
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.recipes.recipe import MAX_STRENGTHS, Augmentation, Convolution, Published
from digit_recognizer.runtime.errors import UserError

LOG_SOFTMAX_200 = (200, 64, "adam", "mnist", 0.5, 0.5, "log_softmax", Published(test_accuracy=0.9803))
# Epochs, batch size, optimizer, data set, mean, std, output and numbers, as the sources have them or as chosen.
SOURCES = {
    "mlp_128_64_adam_10ep": (10, 64, "adam", "mnist", 0.1307, 0.3081, "logits", Published()),
    "mlp_128_64_sgd_15ep": (
        15, 32, "sgd", "qmnist", 0.1307, 0.3081, "logits",
        Published(train_accuracy=0.97, validation_accuracy=0.9715, test_accuracy=0.97),
    ),
    "mlp_512_256_adam_5ep": (
        5, 64, "adam", "mnist", 0.1307, 0.3081, "logits",
        Published(train_loss=0.0370, train_accuracy=0.9881, test_loss=0.0732, test_accuracy=0.9787),
    ),
    "mlp_128_64_adam_200ep": LOG_SOFTMAX_200,
    "mlp_128_64_32_adam_200ep": LOG_SOFTMAX_200,
    "mlp_128_adam": (5, 64, "adam", "mnist", 0.1307, 0.3081, "logits", Published(test_accuracy=0.97)),
}  # fmt: skip
PROJECTS = {"tkinter-mnist", "qmnist-streamlit", "mnist-recognition", "log-softmax-200", "one-hidden-layer"}


def test_there_are_the_five_projects_one_of_them_in_two_forms():
    assert {recipe.name for recipe in PUBLISHED} == set(PARAMETERS) == set(SOURCES)
    assert {recipe.project for recipe in PUBLISHED} == PROJECTS
    assert recipes.get() == recipes.RECIPES["mlp_512_256_adam_5ep"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_recipe_has_its_sources_size_and_numbers_and_says_what_the_source_leaves_open(name):
    recipe = recipes.get(name)
    fields = ("epochs", "batch_size", "optimizer", "dataset", "mean", "std", "output", "published")
    assert tuple(getattr(recipe, field) for field in fields) == SOURCES[name]
    assert (recipe.parameter_count, recipe.learning_rate) == (PARAMETERS[name], 0.001)
    assert recipe.unspecified_details and all(": " in detail for detail in recipe.unspecified_details)
    own_values = recipes.get(name, epochs=recipe.epochs, batch_size=recipe.batch_size)
    assert recipes.overrides_of(own_values) == {}


@pytest.mark.parametrize("recipe", OURS[:-1], ids=lambda recipe: recipe.name)
def test_a_recipe_of_ours_says_so_publishes_nothing_and_scores_the_test_part_once(recipe):
    assert recipe.source.startswith("ours, ") and recipe.published == Published()
    assert (recipe.dataset, recipe.validation, recipe.eval_every_epoch) == ("mnist", False, False)


def test_overrides_are_taken_and_reported_none_is_no_override_and_the_recipe_stays():
    recipe = recipes.get("mlp_128_adam", epochs=2, learning_rate=0.01, batch_size=None)
    assert (recipe.epochs, recipe.learning_rate, recipe.batch_size) == (2, 0.01, 64)
    assert recipes.overrides_of(recipe) == {"epochs": 2, "learning_rate": 0.01}
    assert recipes.get("mlp_128_adam").epochs == 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 1


def test_a_network_is_told_in_a_few_words():
    assert recipes.get("cnn_in_half_a_minute").network == "32x6/2-64x3p-64x3-96x3p-10"
    assert recipes.get("mlp_128_adam").network == "784-128-10"


def test_the_table_has_a_line_for_each_recipe_with_published_numbers_and_source():
    heading, *lines = recipes.table().splitlines()
    assert heading.split()[:3] == ["recipe", "network", "parameters"]
    assert [line.split()[0] for line in lines] == [*recipes.RECIPES, "page_reader:"]
    for line, recipe in zip(lines, PUBLISHED, strict=False):
        assert line.split()[2:4] == [f"{PARAMETERS[recipe.name]:,}", recipe.dataset] and recipe.project in line
    assert "train loss 0.0370, train 98.81%, test loss 0.0732, test 97.87%" in lines[0]
    assert "no number" in lines[1]


def test_the_page_reader_is_named_where_a_network_of_single_digits_is_wanted():
    assert refusal("page_reader").endswith("train it with: digits train --recipe page_reader")


def refusal(name: str = "mlp_128_adam", **overrides) -> str:
    """The one line with which a recipe is refused."""
    with pytest.raises(UserError) as caught:
        recipes.get(name, **overrides)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mlp_512_256_adam_5", "mlp_512_256_adam_5ep"),
        ("mlp_128_64_sgd", "mlp_128_64_sgd_15ep"),
        ("MLP_128_adam", "mlp_128_adam"),
        ("mlp_512", "mlp_512_256_adam_5ep"),
        ("handwriting", "cnn_handwriting"),
        ("cnn_bset", "cnn_best"),
        ("", "mlp_512_256_adam_5ep"),
    ],
)
def test_an_unknown_name_is_refused_and_the_nearest_named(name, nearest):
    assert refusal(name).startswith(f"unknown recipe '{name}'; the nearest is {nearest},")


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["epochs", "batch_size", "learning_rate"])
def test_a_value_that_cannot_be_trained_with_is_refused(field, value):
    message = refusal(**{field: value})
    assert message.startswith(field.replace("_", " ")) and message.endswith(f"not {value}")


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("epochs", 5.0, "epochs must be a whole number, not 5.0"),
        ("epochs", "5", "epochs must be a whole number, not 5"),
        ("batch_size", True, "batch size must be a whole number, not True"),
        ("epochs_without_augmentation", 0.5, "epochs without augmentation must be a whole number, not 0.5"),
        ("epochs_without_augmentation", -1, "epochs without augmentation must not be below zero"),
        ("learning_rate", True, "learning rate must be a number, not True"),
        ("momentum", "x", "momentum must be a number, not x"),
        ("momentum", -0.1, "momentum must be from 0 to below 1"),
        ("momentum", math.nan, "momentum must be from 0 to below 1"),
        ("nesterov", True, "momentum must be from 0 to below 1, for nesterov above 0, not 0.0"),
        ("batch_norm", 3, "batch norm must be true or false, not 3"),
        ("optimizer", ("adam",), "optimizer must be text, not"),
        ("optimizer", "adamw", "unknown optimizer 'adamw'; there are adam and sgd"),
        ("schedule", "cosine", "unknown schedule 'cosine'; there are constant and triangle and exponential"),
        ("precision", "float16", "unknown precision 'float16'; there are float32 and bfloat16"),
        ("mean", math.inf, "mean must be finite, not inf"),
        ("label_smoothing", 1.0, "label smoothing must be from 0 to below 1"),
        ("weight_decay", -1e-4, "label smoothing must be from 0 to below 1, and weight decay finite and not below"),
        ("outlier_fraction", -0.1, "the outlier fraction must be from 0 to below 1"),
        ("outlier_fraction", 1.0, "the outlier fraction must be from 0 to below 1"),
        ("widths", (784, 12.5, 10), "widths must be whole numbers, not (784, 12.5, 10)"),
        ("widths", (784, 10**12, 10), "a network of 795,000,000,000,010 parameters is too large"),
    ],
)
def test_a_value_of_another_kind_or_out_of_range_is_refused(field, value, complaint):
    assert refusal(**{field: value}).startswith(complaint)


@pytest.mark.parametrize("widths", [(784,), (784, 128), (28, 128, 10), (784, 0, 10), (784, -5, 10), ()])
def test_widths_that_do_not_lead_from_pixels_to_digits_are_refused(widths):
    assert "do not lead from 784 pixels to 10 digits" in refusal(widths=widths)


@pytest.mark.parametrize(
    "layers",
    [
        (Convolution(0),),
        (Convolution(8, size=29),),
        (Convolution(8, stride=0),),
        (Convolution(8, pool=True),) * 5,
        (Convolution(8, size=20), Convolution(8, size=20)),
    ],
)
def test_convolutions_that_leave_nothing_are_refused(layers):
    message = refusal("cnn_in_seconds", convolutions=layers, widths=(layers[-1].channels, 10))
    assert message.endswith("do not fit 28 by 28 pixels")


@pytest.mark.parametrize(
    "layer",
    [Convolution(16, residual=True), Convolution(8, size=5, residual=True), Convolution(8, 3, 2, residual=True)],
)
def test_a_residual_layer_needs_an_output_like_its_input(layer):
    message = refusal("cnn_in_seconds", convolutions=(Convolution(8), layer), widths=(16, 10))
    assert message.startswith("a residual layer needs size 3, stride 1 and the 8 channels before it, not Convolution(")


def test_digits_are_enlarged_for_convolutions_only_and_within_bounds():
    assert refusal(side=32) == "side must be from 28 to 112, without convolutions 28, not 32"
    assert refusal("cnn_best", side=27).endswith("not 27") and refusal("cnn_best", side=113).endswith("not 113")
    assert recipes.get("cnn_in_seconds", side=32, widths=(64 * 9, 10)).parameter_count == 29_610


def test_fields_that_came_later_are_in_the_settings_only_where_they_are_used():
    layers = recipes.get("cnn_best").settings["convolutions"]
    assert all(set(layer) == {"channels", "size", "stride", "pool"} for layer in layers)
    assert not any("side" in recipe.settings for recipe in recipes.RECIPES.values() if recipe.name != "cnn_wide")
    wide = recipes.get("cnn_wide")
    assert wide.settings["side"] == 32 and wide.settings["convolutions"][1]["residual"]
    for recipe in (wide, recipes.get("cnn_best")):
        assert recipes.of_settings(recipe.name, recipe.settings) == recipe
    assert wide.network == "128x5-128x3rp-128x3r-256x3p-256x3r-512x3p-512x3r-10"


@pytest.mark.parametrize("changes", [{"widths": (784, 10)}, {"batch_norm": False}, {"output": "softmax"}])
def test_a_convolutional_network_has_one_form_only(changes):
    said = "these convolutions need batch normalisation, widths from 576 to 10 and logits after them"
    assert refusal("cnn_in_seconds", **changes) == said


def test_layers_and_strengths_of_another_kind_or_out_of_range_are_refused():
    for make in (lambda: Convolution(1.5), lambda: Convolution(8, pool=1), lambda: Augmentation(interpolation=2)):
        with pytest.raises(UserError, match=r"must be (a whole number|true or false|text), not"):
            make()
    for name, most in MAX_STRENGTHS.items():
        for value in (-0.1, math.nan, math.inf, 181):
            with pytest.raises(UserError, match=rf"^the strength of {name} must be from 0 to {most}, not {value}$"):
                Augmentation(**{name: value})
