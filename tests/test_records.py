"""A run's files, and its numbers beside the published ones and the spread of seeds."""

import dataclasses
from pathlib import Path

import pytest

from digit_recognizer import recipes, records
from digit_recognizer.evaluation import Scores
from digit_recognizer.recipes.spreads import SPREADS
from digit_recognizer.study import reproduction

ROOT = Path(__file__).parents[1]
EPOCH = {"train_loss": 0.0365, "train_accuracy": 0.9879, "held_out": "test", "held_out_accuracy": 0.9774}


def test_the_spreads_that_ship_are_those_of_the_committed_records():
    assert reproduction.spreads(ROOT / "results") == SPREADS


def test_the_comparison_shows_published_numbers_spreads_and_the_test_set_interval():
    lines = records.comparison(recipes.get(), "mnist", Scores(9774, 10_000, 834.0), EPOCH).splitlines()
    assert lines[0] == "MNIST, n = 10,000 test digits"
    assert " ".join(lines[2].split()) == "train loss 0.0370 0.0365 0.0377 ± 0.0013 (30) 0.0349 to 0.0405"
    assert " ".join(lines[4].split()) == "test loss 0.0732 0.0834 0.0826 ± 0.0090 (30) 0.0638 to 0.1013"
    assert " ".join(lines[5].split()) == "test accuracy 97.87% 97.74% 97.72% ± 0.24% (30) 97.21% to 98.22%"
    assert lines[-1] == "95 % test-set interval of this network: 97.43% to 98.01%"


@pytest.mark.parametrize(
    ("name", "correct", "sentence"),
    [
        ("mlp_512_256_adam_5ep", 9774, "the published 97.87% and this run's 97.74% lie inside the spread of seeds"),
        ("mlp_512_256_adam_5ep", 9738, "the published 97.87% and this run's 97.38% lie inside the spread of seeds"),
        ("mlp_512_256_adam_5ep", 9700, "published 97.87% lies inside the spread of seeds, this run's 97.00% below it"),
        ("mlp_128_adam", 9760, "the published 97.00% lies below the spread of seeds, this run's 97.60% inside it"),
        ("mlp_128_64_adam_10ep", 9900, "this run's 99.00% lies above the spread of seeds"),  # nothing is published
        ("cnn_best", 9972, "this run's 99.72% lies inside the spread of seeds"),
    ],
)
def test_the_comparison_says_where_both_numbers_lie_in_the_spread(name, correct, sentence):
    lines = records.comparison(recipes.get(name), "mnist", Scores(correct, 10_000, 700.0)).splitlines()
    assert lines[-2].endswith(sentence)


@pytest.mark.parametrize("recipe", [None, recipes.get("mlp_128_adam"), recipes.get("mlp_128_adam", epochs=6)])
def test_another_training_or_data_set_is_not_compared(recipe):
    dataset = "mnist" if recipe and recipe.epochs == 6 else "optdigits"
    text = records.comparison(recipe, dataset, Scores(346, 360, 46.0))
    assert "n = 360 test digits (nothing is published of this training on this data set)\n" in text
    assert text.startswith("MNIST" if dataset == "mnist" else "optdigits") and "spread" not in text
    assert text.splitlines()[-2].split() == ["test", "accuracy", "96.11%"]  # no column without a number


@pytest.mark.parametrize("held_out", ["validation", "test"])
def test_the_comparison_shows_the_validation_part_of_the_last_epoch(held_out):
    recipe, epoch = recipes.get("mlp_128_64_sgd_15ep"), EPOCH | {"held_out": held_out}
    text = records.comparison(recipe, "qmnist", Scores(9, 10, 1.0), epoch)
    rows = {" ".join(line.split()[:2]): line.split()[2:4] for line in text.splitlines()}
    assert text.startswith("QMNIST, n = 10 ")
    assert rows["train loss"] == ["-", "0.0365"] and rows["train accuracy"] == ["97.00%", "98.79%"]
    assert ("validation accuracy" in rows) == (held_out == "validation")
    assert held_out == "test" or rows["validation accuracy"] == ["97.15%", "97.74%"]


def test_only_mnist_goes_by_the_plain_names(tmp_path):
    recipe = recipes.get()
    mnist, embedded = (records.outputs(tmp_path, recipe, name, 3) for name in ("mnist", "optdigits"))
    assert mnist.model == tmp_path / "mnist_model.pth"
    assert mnist.record == tmp_path / "runs/mlp_512_256_adam_5ep/mnist-seed3.json"
    assert mnist.figures == tmp_path / "figures"
    assert embedded.figures == tmp_path / "figures/optdigits"
    for field in dataclasses.fields(records.Outputs):
        assert getattr(mnist, field.name) != getattr(embedded, field.name)
