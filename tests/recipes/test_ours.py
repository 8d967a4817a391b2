"""What our own recipes ask of the loop, beside the same training written by hand."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from digit_recognizer import checkpoints, data, models, plots, recipes, training
from digit_recognizer.data import augmentation
from digit_recognizer.recipes.recipe import Augmentation, Convolution, Recipe
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError


@pytest.fixture(scope="module")
def small() -> Recipe:
    """A rung of the ladder, small enough for a test; its batches leave a smaller one at the end."""
    layers = (Convolution(8, size=6, stride=2, pool=True), Convolution(16, pool=True))
    return recipes.get("cnn_in_seconds", convolutions=layers, widths=(16 * 9, 10), epochs=2, precision="float32")


def fit(recipe: Recipe, digits: data.Digits, **options):
    return training.fit(models.build(recipe), digits, recipe, quiet=True, **options)


def by_hand(recipe: Recipe, digits: data.Digits) -> torch.nn.Module:
    """The recipe's training as anyone would write it with PyTorch's own parts."""
    model = models.build(recipe)
    train = TensorDataset(data.to_pixels(digits.train.images), digits.train.labels)
    loader = DataLoader(train, recipe.batch_size, shuffle=True, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1.0, momentum=0.9, nesterov=True, weight_decay=0.0005, fused=True
    )
    # Each step has the rate of its middle; time counts in epochs, so that the last batch's step is a short one.
    middles = [epoch + (step + 0.5) * 125 / 1437 for epoch in range(recipe.epochs) for step in range(len(loader))]
    rates = iter(np.interp(middles, [0, 0.2 * recipe.epochs, recipe.epochs], [0, recipe.learning_rate, 0]))
    for _ in range(recipe.epochs):
        for pixels, labels in loader:
            optimizer.param_groups[0]["lr"] = next(rates)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                logits = model(pixels)
            F.cross_entropy(logits.float(), labels, label_smoothing=0.1).backward()
            optimizer.step()
    return model


def furthest(model: torch.nn.Module, other: torch.nn.Module) -> float:
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((one.double() - two.double()).abs().max()) for one, two in pairs)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_rung_is_trained_as_one_would_by_hand(precision, small, optdigits):
    recipe = dataclasses.replace(small, precision=precision)
    ours, theirs = fit(recipe, optdigits)[0], by_hand(recipe, optdigits)
    # The rates differ in their last digit, and bfloat16 rounds what follows from that to one part in 256.
    assert furthest(ours, theirs) < (1e-4 if precision == "float32" else 0.05)
    assert furthest(ours, models.build(recipe)) > 0.1
    assert all(value.dtype == torch.float32 for value in ours.parameters())


def test_the_triangle_rises_for_a_fifth_of_the_way_and_falls_to_zero():
    recipe = recipes.get("cnn_in_seconds", learning_rate=0.5)
    places = np.linspace(0, 1, 101)
    rates = [training.learning_rate(recipe, place) for place in places]
    np.testing.assert_allclose(rates, np.interp(places, [0, 0.2, 1], [0, 0.5, 0]), atol=1e-12)
    assert {training.learning_rate(recipes.get(), place) for place in places} == {0.001}


def test_augmentation_stops_before_the_clean_epochs(small, optdigits, monkeypatch):
    recipe = dataclasses.replace(small, epochs=3, epochs_without_augmentation=1, augmentation=Augmentation(shift=2))
    used = []
    plain = augmentation.augment
    monkeypatch.setattr(
        augmentation,
        "augment",
        lambda pixels, strengths, *rest: used.append(strengths) or plain(pixels, strengths, *rest),
    )
    fit(recipe, optdigits)
    steps = -(-1437 // 125)
    assert used == [Augmentation(shift=2)] * 2 * steps + [Augmentation()] * steps


def test_augmentation_changes_training_and_one_seed_stays_one_run(small, optdigits):
    recipe = dataclasses.replace(small, augmentation=Augmentation(shift=2, elastic=1))
    first, second, plain = (fit(each, optdigits)[0] for each in (recipe, recipe, small))
    assert provenance.weights_hash(first) == provenance.weights_hash(second)
    assert furthest(first, plain) > 0.01


def test_without_a_curve_only_the_last_weights_are_scored(small, optdigits, capsys):
    model, history = training.fit(models.build(small), optdigits, small)
    assert [row["held_out_accuracy"] is None for row in history] == [True, False]
    first, last = capsys.readouterr().out.splitlines()
    assert "test loss" not in first and "test loss" in last
    accuracy = plots.training_curves(history, small.name).axes[1]
    assert np.isnan(accuracy.lines[1].get_ydata()[0]) and not np.isnan(accuracy.lines[1].get_ydata()[1])
    curved, _ = fit(dataclasses.replace(small, eval_every_epoch=True), optdigits)
    assert provenance.weights_hash(curved) == provenance.weights_hash(model)


def test_a_scheduled_run_goes_on_as_if_it_had_not_stopped(small, optdigits, tmp_path):
    recipe = dataclasses.replace(
        small, augmentation=Augmentation(rotation=10, elastic=1), epochs_without_augmentation=1
    )
    path, run = tmp_path / "progress.pth", (recipe, "optdigits", 0)
    whole, _ = fit(recipe, optdigits)

    def stop_after_the_first(progress: dict) -> None:
        checkpoints.save_progress(path, *run, progress)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, optdigits, on_epoch=stop_after_the_first)
    resumed, history = fit(recipe, optdigits, resume=checkpoints.load_progress(path, *run))
    assert provenance.weights_hash(resumed) == provenance.weights_hash(whole) and len(history) == 2


def test_a_scheduled_run_does_not_go_on_to_another_number_of_epochs(small, optdigits, tmp_path):
    path = tmp_path / "progress.pth"
    fit(small, optdigits, on_epoch=lambda progress: checkpoints.save_progress(path, small, "optdigits", 0, progress))
    with pytest.raises(UserError, match="is of a run with other settings"):
        checkpoints.load_progress(path, dataclasses.replace(small, epochs=4), "optdigits", 0)


def test_the_products_that_are_chosen_are_float32s():
    choose_device("cpu", 1)
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(64, 784, generator=generator), torch.randn(784, 512, generator=generator)
    assert ((left @ right).double() - left.double() @ right.double()).abs().max() < 0.001


def test_quick_products_that_are_not_float32s_are_left_alone(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", asked.append)
    exact = torch.Tensor.__matmul__
    rounded = lambda value: value.bfloat16().to(value.dtype) if value.dtype == torch.float32 else value  # noqa: E731
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda left, right: exact(rounded(left), rounded(right)))
    choose_device("cpu", 1)
    assert asked[-1] == "highest"
