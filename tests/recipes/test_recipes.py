"""The recipes against the sources they come from, and what they refuse."""

import dataclasses
import math

import pytest
from facts import PARAMETERS

from digit_recognizer import recipes
from digit_recognizer.recipes.ours import OURS
from digit_recognizer.recipes.published import PUBLISHED as PUBLISHED_RECIPES
from digit_recognizer.recipes.recipe import Augmentation, Convolution, Published
from digit_recognizer.runtime.errors import UserError

PROJECTS = {"tkinter-mnist", "qmnist-streamlit", "mnist-recognition", "log-softmax-200", "one-hidden-layer"}
PUBLISHED = {
    "mlp_128_64_adam_10ep": Published(),
    "mlp_128_64_sgd_15ep": Published(train_accuracy=0.97, validation_accuracy=0.9715, test_accuracy=0.97),
    "mlp_512_256_adam_5ep": Published(train_loss=0.0370, train_accuracy=0.9881, test_loss=0.0732, test_accuracy=0.9787),
    "mlp_128_64_adam_200ep": Published(test_accuracy=0.9803),
    "mlp_128_64_32_adam_200ep": Published(test_accuracy=0.9803),
    "mlp_128_adam": Published(test_accuracy=0.97),
}
# Epochs, batch size, optimizer, learning rate and data set, as written or as chosen where the source is silent.
TRAINING = {
    "mlp_128_64_adam_10ep": (10, 64, "adam", 0.001, "mnist"),
    "mlp_128_64_sgd_15ep": (15, 32, "sgd", 0.001, "qmnist"),
    "mlp_512_256_adam_5ep": (5, 64, "adam", 0.001, "mnist"),
    "mlp_128_64_adam_200ep": (200, 64, "adam", 0.001, "mnist"),
    "mlp_128_64_32_adam_200ep": (200, 64, "adam", 0.001, "mnist"),
    "mlp_128_adam": (5, 64, "adam", 0.001, "mnist"),
}


def test_there_are_the_five_projects_and_the_third_in_two_forms():
    assert {recipe.name for recipe in PUBLISHED_RECIPES} == set(PARAMETERS)
    assert recipes.DEFAULT == "mlp_512_256_adam_5ep"
    assert recipes.get() == recipes.RECIPES[recipes.DEFAULT]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_recipe_has_its_sources_size_and_numbers(name):
    recipe = recipes.get(name)
    assert recipe.parameter_count == PARAMETERS[name]
    assert recipe.published == PUBLISHED[name]
    training = (recipe.epochs, recipe.batch_size, recipe.optimizer, recipe.learning_rate, recipe.dataset)
    assert training == TRAINING[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_recipe_names_its_project_and_what_the_source_leaves_open(name):
    recipe = recipes.get(name)
    assert recipe.project in PROJECTS
    assert recipe.unspecified_details and all(": " in detail for detail in recipe.unspecified_details)


def test_the_normalisations_are_those_of_the_sources():
    constants = {recipe.name: (recipe.mean, recipe.std) for recipe in PUBLISHED_RECIPES}
    assert constants["mlp_512_256_adam_5ep"] == (0.1307, 0.3081)
    assert constants["mlp_128_64_32_adam_200ep"] == constants["mlp_128_64_adam_200ep"] == (0.5, 0.5)
    assert {recipe.name for recipe in PUBLISHED_RECIPES if recipe.output == "log_softmax"} == {
        "mlp_128_64_adam_200ep",
        "mlp_128_64_32_adam_200ep",
    }


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("mlp_512_256_adam_5", "mlp_512_256_adam_5ep"),
        ("mlp_128_64_sgd", "mlp_128_64_sgd_15ep"),
        ("MLP_128_adam", "mlp_128_adam"),
        ("mlp_512", "mlp_512_256_adam_5ep"),
        ("handwriting", "cnn_handwriting"),
        ("cnn_bset", "cnn_best"),
    ],
)
def test_an_unknown_name_is_refused_and_the_nearest_named(name, nearest):
    with pytest.raises(UserError) as refusal:
        recipes.get(name)
    assert f"the nearest is {nearest}," in str(refusal.value)
    assert name in str(refusal.value) and len(str(refusal.value).splitlines()) == 1


def test_even_a_name_like_none_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"unknown recipe ''; the nearest is \w+"):
        recipes.get("")


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["epochs", "batch_size", "learning_rate"])
def test_a_value_that_cannot_be_trained_with_is_refused_in_one_line(field, value):
    with pytest.raises(UserError) as refusal:
        recipes.get("mlp_128_adam", **{field: value})
    message = str(refusal.value)
    assert message.startswith(field.replace("_", " ")) and message.endswith(f"not {value}")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("epochs", 5.0, "epochs must be a whole number, not 5.0"),
        ("epochs", "5", "epochs must be a whole number, not 5"),
        ("batch_size", True, "batch size must be a whole number, not True"),
        ("epochs_without_augmentation", 0.5, "epochs without augmentation must be a whole number, not 0.5"),
        ("learning_rate", True, "learning rate must be a number, not True"),
        ("momentum", "x", "momentum must be a number, not x"),
        ("batch_norm", 3, "batch norm must be true or false, not 3"),
        ("optimizer", ("adam",), "optimizer must be text, not"),
        ("widths", (784, 12.5, 10), r"widths must be whole numbers, not \(784, 12.5, 10\)"),
        ("widths", (784, 10**12, 10), "a network of 795,000,000,000,010 parameters is too large"),
        ("momentum", -0.1, "momentum must be from 0 to below 1"),
        ("momentum", math.nan, "momentum must be from 0 to below 1"),
        ("nesterov", True, "for nesterov above 0, not 0.0"),
        ("mean", math.inf, "mean must be finite, not inf"),
    ],
)
def test_a_value_of_another_kind_or_out_of_range_is_refused(field, value, complaint):
    with pytest.raises(UserError, match=complaint):
        recipes.get("mlp_128_adam", **{field: value})


@pytest.mark.parametrize(
    "make", [lambda: Convolution(1.5), lambda: Convolution(8, pool=1), lambda: Augmentation(interpolation=2)]
)
def test_layers_and_strengths_of_another_kind_are_refused(make):
    with pytest.raises(UserError, match=r"must be (a whole number|true or false|text), not"):
        make()


@pytest.mark.parametrize("widths", [(784,), (784, 128), (28, 128, 10), (784, 0, 10), (784, -5, 10), ()])
def test_widths_that_do_not_lead_from_pixels_to_digits_are_refused(widths):
    with pytest.raises(UserError, match="do not lead from 784 pixels to 10 digits"):
        recipes.get("mlp_128_adam", widths=widths)


@pytest.mark.parametrize("recipe", OURS[:-1], ids=lambda recipe: recipe.name)
def test_a_rung_of_ours_says_so_publishes_nothing_and_scores_the_test_part_once(recipe):
    assert recipe.source.startswith("ours, ") and recipe.published == Published()
    assert (recipe.dataset, recipe.validation, recipe.eval_every_epoch) == ("mnist", False, False)


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
    with pytest.raises(UserError, match="do not fit 28 by 28 pixels"):
        recipes.get("cnn_in_seconds", convolutions=layers, widths=(layers[-1].channels, 10))


@pytest.mark.parametrize("changes", [{"widths": (784, 10)}, {"batch_norm": False}, {"output": "softmax"}])
def test_a_convolutional_network_has_one_form_only(changes):
    with pytest.raises(UserError, match=r"need batch normalisation, the widths \(576, 10\) and logits after them"):
        recipes.get("cnn_in_seconds", **changes)


@pytest.mark.parametrize(("field", "value"), [("optimizer", "adamw"), ("schedule", "cosine"), ("precision", "float16")])
def test_an_unknown_choice_is_refused_and_the_others_named(field, value):
    with pytest.raises(UserError, match=f"^unknown {field} '{value}'; there are [a-z0-9]+ and [a-z0-9]+$"):
        recipes.get("mlp_128_adam", **{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("label_smoothing", 1.0), ("weight_decay", -1e-4), ("epochs_without_augmentation", -1)]
)
def test_regularisation_out_of_range_is_refused(field, value):
    with pytest.raises(UserError, match=f"{field.replace('_', ' ')} .*not.* below zero|label smoothing must be from 0"):
        recipes.get("cnn_in_seconds", **{field: value})


def test_a_network_is_told_in_a_few_words():
    layers = (Convolution(32, size=6, stride=2, pool=True), Convolution(64), Convolution(64, pool=True))
    recipe = recipes.get("cnn_in_seconds", convolutions=layers, widths=(64 * 9, 10), augmentation=Augmentation(shift=1))
    assert recipe.network == "32x6/2p-64x3-64x3p-10"
    assert recipes.get("mlp_128_adam").network == "784-128-10"


def test_overrides_are_taken_and_reported_and_none_is_no_override():
    recipe = recipes.get("mlp_128_adam", epochs=2, learning_rate=0.01, batch_size=None)
    assert (recipe.epochs, recipe.learning_rate, recipe.batch_size) == (2, 0.01, 64)
    assert recipes.overrides_of(recipe) == {"epochs": 2, "learning_rate": 0.01}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_published_recipe_has_no_overrides_even_when_its_own_values_are_given(name):
    recipe = recipes.get(name, epochs=TRAINING[name][0], batch_size=TRAINING[name][1])
    assert recipes.overrides_of(recipe) == {}


def test_a_recipe_cannot_be_changed():
    recipe = recipes.get()
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.published.test_accuracy = 1.0


def test_overrides_do_not_change_the_published_recipe():
    recipes.get("mlp_128_adam", epochs=99)
    assert recipes.get("mlp_128_adam").epochs == 5


def test_the_table_has_a_line_for_each_recipe():
    heading, *lines = recipes.table().splitlines()
    assert heading.split()[:3] == ["recipe", "network", "parameters"]
    assert [line.split()[0] for line in lines] == list(recipes.RECIPES)
    for line in lines[: len(PARAMETERS)]:
        name, _, parameters, dataset, *_ = line.split()
        assert (parameters, dataset) == (f"{PARAMETERS[name]:,}", TRAINING[name][4])


def test_the_table_shows_the_published_numbers_and_the_source():
    lines = {line.split()[0]: line for line in recipes.table().splitlines()}
    assert "train loss 0.0370, train 98.81%, test loss 0.0732, test 97.87%" in lines[recipes.DEFAULT]
    assert "no number" in lines["mlp_128_64_adam_10ep"]
    assert all(recipes.get(name).source[:3] in lines[name] for name in PARAMETERS)
