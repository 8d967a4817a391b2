"""The loop beside a hand-written one, bit for bit, and a run that is stopped and goes on."""

import copy
import dataclasses
import functools
import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from digit_recognizer import checkpoints, data, models, plots, recipes, training
from digit_recognizer.data import Digits, Split, augmentation
from digit_recognizer.recipes.recipe import Augmentation, Convolution, Recipe
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.errors import UserError

SGD = recipes.get("mlp_128_64_sgd_15ep", epochs=2)
LAYERS = (Convolution(8, size=6, stride=2, pool=True), Convolution(16, pool=True))
# One of our recipes, small enough for a test; its batches of 125 leave a smaller one at the end.
CNN = recipes.get("cnn_in_seconds", convolutions=LAYERS, widths=(16 * 9, 10), epochs=2, precision="float32")


def fit(recipe, digits, seed=0, **options):
    """(model, history) of a fresh network."""
    return training.fit(models.build(recipe, seed), digits, recipe, seed, **({"quiet": True} | options))


def hand_written(recipe: Recipe, digits: Digits, optimizer_of, rates=None):
    """The usual loop: DataLoader, forward, cross-entropy, backward, step. Returns model, last summed loss, correct."""
    model = models.build(recipe)
    train = TensorDataset(data.to_pixels(digits.train.images), digits.train.labels)
    loader = DataLoader(train, recipe.batch_size, shuffle=True, generator=torch.Generator().manual_seed(0))
    optimizer = optimizer_of(model.parameters(), lr=recipe.learning_rate)
    rates = iter(rates if rates is not None else itertools.repeat(recipe.learning_rate))
    for _ in range(recipe.epochs):
        losses, correct = 0.0, 0
        for pixels, labels in loader:
            optimizer.param_groups[0]["lr"] = next(rates)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                logits = model(pixels)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(labels)
            correct += int((logits.argmax(1) == labels).sum())
    return model, losses, correct


ADAM = functools.partial(torch.optim.Adam, fused=True)


def furthest(model, other) -> float:
    """The largest difference between two networks' weights."""
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((one.double() - two.double()).abs().max()) for one, two in pairs)


def without_seconds(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


def test_two_runs_of_one_seed_are_bitwise_equal_and_another_seeds_is_not(trained, optdigits, small_recipe):
    model, history = fit(small_recipe, optdigits)
    assert provenance.weights_hash(model) == provenance.weights_hash(trained[0])
    assert without_seconds(history) == without_seconds(trained[1])
    other_order, _ = training.fit(models.build(small_recipe), optdigits, small_recipe, seed=1, quiet=True)
    assert furthest(other_order, model) > 0
    fresh, moved = models.build(small_recipe).state_dict(), model.state_dict()
    assert {name for name in fresh if torch.equal(fresh[name], moved[name])} == {"0.mean", "0.deviation"}


def test_three_epochs_are_bitwise_those_of_the_usual_loop_and_to_rounding_those_of_adam_unfused(
    optdigits, small_recipe
):
    recipe = dataclasses.replace(small_recipe, epochs=3)
    model, _ = fit(recipe, optdigits)
    assert provenance.weights_hash(model) == provenance.weights_hash(hand_written(recipe, optdigits, ADAM)[0])
    few = dataclasses.replace(optdigits, train=optdigits.train.take(torch.arange(64)))  # three steps
    assert furthest(fit(recipe, few)[0], hand_written(recipe, few, torch.optim.Adam)[0]) < 1e-5


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_recipe_of_ours_is_trained_as_one_would_by_hand(precision, optdigits):
    recipe = dataclasses.replace(CNN, precision=precision)
    # Each step has the rate of its middle; time counts in epochs, so that the last batch's step is a short one.
    middles = [epoch + (step + 0.5) * 125 / 1437 for epoch in range(2) for step in range(12)]
    rates = np.interp(middles, [0, 0.4, 2], [0, recipe.learning_rate, 0])
    optimizer = functools.partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=0.0005, fused=True)
    ours, theirs = fit(recipe, optdigits)[0], hand_written(recipe, optdigits, optimizer, rates)[0]
    # The rates differ in their last digit, and bfloat16 rounds what follows from that to one part in 256.
    assert furthest(ours, theirs) < (1e-4 if precision == "float32" else 0.05)
    assert furthest(ours, models.build(recipe)) > 0.1
    assert all(value.dtype == torch.float32 for value in ours.parameters())


def test_sgd_has_the_published_projects_momentum(optdigits):
    recipe = dataclasses.replace(SGD, epochs=1)
    assert (recipe.batch_size, recipe.learning_rate, recipe.momentum) == (32, 0.001, 0.9)
    model, _ = fit(recipe, optdigits)
    assert furthest(model, hand_written(recipe, optdigits, functools.partial(torch.optim.SGD, momentum=0.9))[0]) < 1e-5
    assert furthest(model, fit(dataclasses.replace(recipe, momentum=0.0), optdigits)[0]) > 1e-3


def test_a_row_of_the_history_is_what_a_hand_counts(optdigits, small_recipe):
    recipe = dataclasses.replace(small_recipe, epochs=1)
    (row,) = fit(recipe, optdigits)[1]
    model, losses, correct = hand_written(recipe, optdigits, ADAM)
    with torch.no_grad():
        logits = model(data.to_pixels(optdigits.test.images))
    assert row.pop("seconds") > 0
    assert row == {
        "epoch": 1,
        "train_loss": pytest.approx(losses / 1437, rel=1e-6),
        "train_accuracy": correct / 1437,
        "held_out": "test",
        "held_out_loss": pytest.approx(float(F.cross_entropy(logits, optdigits.test.labels)), rel=1e-5),
        "held_out_accuracy": int((logits.argmax(1) == optdigits.test.labels).sum()) / 360,
    }


def test_the_last_weights_are_kept_even_when_the_first_looked_best(optdigits, small_recipe):
    false_labels = (optdigits.test.labels + 1) % 10  # the better it learns, the worse it looks
    digits = Digits("optdigits", optdigits.train, None, Split(optdigits.test.images, false_labels), {})
    model, hashes = models.build(small_recipe), []
    note = lambda _: hashes.append(provenance.weights_hash(model))  # noqa: E731
    _, history = training.fit(model, digits, small_recipe, quiet=True, on_epoch=note)
    assert history[0]["held_out_loss"] < history[1]["held_out_loss"]
    assert provenance.weights_hash(model) == hashes[1] != hashes[0]


def test_ten_epochs_read_nine_of_ten_test_digits(optdigits, small_recipe):
    history = fit(dataclasses.replace(small_recipe, epochs=10), optdigits)[1]
    assert history[-1]["held_out_accuracy"] >= 0.9


def test_a_log_softmax_layer_changes_training_by_rounding_only(optdigits):
    recipe = recipes.get("mlp_128_64_adam_200ep", epochs=1)
    model, (row,) = fit(recipe, optdigits)
    plain, (plain_row,) = fit(dataclasses.replace(recipe, output="logits"), optdigits)
    assert (type(model[-1]), type(plain[-1])) == (torch.nn.LogSoftmax, torch.nn.Linear)
    assert row["train_loss"] == pytest.approx(plain_row["train_loss"], rel=1e-4)
    assert row["held_out_loss"] == pytest.approx(plain_row["held_out_loss"], rel=1e-3)


def test_the_triangle_rises_for_a_fifth_of_the_way_and_falls_to_zero():
    recipe = recipes.get("cnn_in_seconds", learning_rate=0.5)
    places = np.linspace(0, 1, 101)
    rates = [training.learning_rate(recipe, place) for place in places]
    np.testing.assert_allclose(rates, np.interp(places, [0, 0.2, 1], [0, 0.5, 0]), atol=1e-12)
    assert {training.learning_rate(recipes.get(), place) for place in places} == {0.001}


def test_the_exponential_schedule_divides_the_rate_by_ten_in_each_third():
    recipe = recipes.get(schedule="exponential", learning_rate=0.002)
    rates = [training.learning_rate(recipe, place / 3) for place in range(4)]
    np.testing.assert_allclose(rates, [2e-3, 2e-4, 2e-5, 2e-6], rtol=1e-9)


def test_augmentation_is_of_one_seed_and_stops_before_the_epochs_without(optdigits, monkeypatch):
    used, augment, shift = [], augmentation.augment, Augmentation(shift=2, elastic=1)
    recipe = dataclasses.replace(CNN, augmentation=shift, epochs_without_augmentation=1)
    first, _ = fit(recipe, optdigits)
    monkeypatch.setattr(augmentation, "augment", lambda *given: used.append(given[1]) or augment(*given))
    second, _ = fit(recipe, optdigits)
    assert used == [shift] * 12 + [Augmentation()] * 12
    assert provenance.weights_hash(first) == provenance.weights_hash(second)
    assert furthest(first, fit(CNN, optdigits)[0]) > 0.01


def test_without_scores_of_every_epoch_only_the_last_weights_are_scored(optdigits, capsys):
    model, history = fit(CNN, optdigits, quiet=False)
    assert [row["held_out_accuracy"] is None for row in history] == [True, False]
    first, last = capsys.readouterr().out.splitlines()
    assert "test loss" not in first and "test loss" in last
    accuracy = plots.training_curves(history, CNN.name).axes[1]
    assert np.isnan(accuracy.lines[1].get_ydata()).tolist() == [True, False]
    scored, _ = fit(dataclasses.replace(CNN, eval_every_epoch=True), optdigits)
    assert provenance.weights_hash(scored) == provenance.weights_hash(model)


@pytest.mark.parametrize(
    "recipe",
    [
        recipes.get("mlp_128_adam", epochs=2),
        SGD,
        dataclasses.replace(CNN, augmentation=Augmentation(rotation=10, elastic=1), epochs_without_augmentation=1),
    ],
    ids=["adam", "sgd", "schedule and augmentation"],
)
def test_two_epochs_are_one_and_resume_and_one(recipe, optdigits, tmp_path):
    path, run, kept = tmp_path / "progress.pth", (recipe, "optdigits", 0), []
    whole, whole_history = fit(recipe, optdigits)

    def stop_after_the_first(progress: dict) -> None:
        kept.append(copy.deepcopy(progress))
        checkpoints.save_progress(path, *run, progress)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(recipe, optdigits, on_epoch=stop_after_the_first)
    for progress in (checkpoints.load_progress(path, *run), kept[0], kept[0]):  # which resuming does not change
        other_weights = models.build(recipe, seed=5)
        resumed, history = training.fit(other_weights, optdigits, recipe, quiet=True, resume=progress)
        assert provenance.weights_hash(resumed) == provenance.weights_hash(whole)
        assert without_seconds(history) == without_seconds(whole_history) and len(progress["history"]) == 1


def test_a_run_does_not_go_on_to_fewer_epochs_than_are_done(trained, optdigits, small_recipe):
    shorter = dataclasses.replace(small_recipe, epochs=1)
    state = training.TrainState.create(trained[0], small_recipe, seed=0)
    state.history = trained[1]
    with pytest.raises(UserError, match=r"^2 epochs are done.*--epochs.*$"):
        fit(shorter, optdigits, resume=state.state_dict())


def test_the_progress_of_another_run_is_refused(tmp_path, small_recipe):
    path, run = tmp_path / "progress.pth", {"dataset": "optdigits", "seed": 0}
    for own, others in (
        (small_recipe, [{"learning_rate": 0.01}, {"name": "mlp_128_64_adam_10ep"}, {"dataset": "mnist"}, {"seed": 1}]),
        (CNN, [{"epochs": 4}]),  # which its schedule depends on
    ):
        checkpoints.save_progress(path, own, **run, progress={"epoch": 1})
        assert checkpoints.load_progress(path, own, **run) == {"epoch": 1}
        for other in others:
            of_run = {name: other.pop(name, value) for name, value in run.items()}
            with pytest.raises(UserError, match=r"^[^\n]*progress.pth is of a run with other settings[^\n]*$"):
                checkpoints.load_progress(path, dataclasses.replace(own, **other), **of_run)
    longer = dataclasses.replace(small_recipe, epochs=9)
    checkpoints.save_progress(path, small_recipe, **run, progress={"epoch": 1})
    assert checkpoints.load_progress(path, longer, **run) == {"epoch": 1}


@pytest.mark.parametrize(
    "content", [None, [1], {"format": 1}, {"format": 9, "progress": {}}, {"format": 1, "progress": {}}]
)
def test_what_is_no_progress_is_refused(content, tmp_path, small_recipe):
    if content is not None:
        torch.save(content, tmp_path / "progress.pth")
    with pytest.raises(UserError, match=r"^[^\n]*progress.pth[^\n]*without --resume[^\n]*$"):
        checkpoints.load_progress(tmp_path / "progress.pth", small_recipe, "optdigits", 0)


def test_a_progress_with_wrong_parts_is_refused(trained, optdigits, small_recipe):
    state = training.TrainState.create(trained[0], small_recipe, seed=0).state_dict()
    for part, wrong in (
        ("history", 5), ("history", [{}]), ("history", "ab"), ("model", {}), ("optimizer", {}), ("generator", 3)
    ):  # fmt: skip
        with pytest.raises(UserError, match=r"^[^\n]*does not fit this training[^\n]*$"):
            fit(small_recipe, optdigits, resume=state | {part: wrong})


def test_a_training_that_diverges_is_refused_before_anything_is_kept(optdigits, small_recipe):
    kept = []
    with pytest.raises(UserError, match=r"^[^\n]*smaller learning rate[^\n]*$"):
        fit(dataclasses.replace(small_recipe, learning_rate=1e300), optdigits, on_epoch=kept.append)
    assert kept == []


def test_a_process_of_its_own_flushes_denormals_in_all_threads_and_leaves_no_semaphore_if_it_is_killed():
    script = (
        "from multiprocessing import resource_tracker, set_start_method\n"
        "set_start_method('spawn')\n"  # as workers start; forked ones share nothing that has a name
        "import torch\n"
        "from digit_recognizer import data, models, recipes, training\n"
        "from digit_recognizer.runtime.device import choose_device\n"
        "choose_device('cpu', 2)\n"
        "products = torch.full((400_000,), 1e-30) * 1e-10\n"
        "recipe = recipes.get('mlp_128_adam', epochs=1)\n"
        "training.fit(models.build(recipe), data.load('optdigits'), recipe)\n"
        "print(torch.get_num_threads(), int(products.view(torch.int32).count_nonzero()))\n"
        "print(resource_tracker._resource_tracker._fd)"  # it is started for the first semaphore
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-2:] == ["2 0", "None"]


@pytest.mark.parametrize("name", ["test", "validation"])
def test_an_epoch_prints_one_line_with_the_name_of_the_held_out_part(name, capsys, small_recipe):
    digits = data.load("optdigits", validation=name == "validation")
    fit(small_recipe, digits, quiet=True)
    assert capsys.readouterr() == ("", "")
    fit(small_recipe, digits, quiet=False)
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) == 2 and captured.err == ""
    for number, line in enumerate(lines, start=1):
        words = line.split()
        assert words[:4] == ["epoch", f"{number}/2", "train", "loss"]
        assert words[7:9] == [name, "loss"] and words[5] == words[10] == "accuracy"


@pytest.mark.parametrize("quiet", [False, True])
def test_whoever_watches_sees_a_bar_with_loss_and_accuracy(quiet, monkeypatch, trained, optdigits, small_recipe):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    always = {"__init__": functools.partialmethod(tqdm.__init__, mininterval=0)}
    monkeypatch.setattr(training, "tqdm", type("always", (tqdm,), always))
    model, _ = fit(small_recipe, optdigits, quiet=quiet)
    shown = screen.getvalue()
    assert ("epoch 2" in shown and "loss 0." in shown and ", accuracy " in shown) is not quiet
    assert not quiet or shown == ""
    assert provenance.weights_hash(model) == provenance.weights_hash(trained[0])
