"""The loop beside a hand-written one, bit for bit, and a run that is stopped and goes on."""

import copy
import dataclasses
import functools
import io
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from digit_recognizer import checkpoints, data, models, recipes, training
from digit_recognizer.data import Digits, Split
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError

SGD = recipes.get("mlp_128_64_sgd_15ep", epochs=2)


def fit(recipe, digits, seed=0, **options):
    """(model, history) of a fresh network."""
    return training.fit(models.build(recipe, seed), digits, recipe, seed, **({"quiet": True} | options))


def hand_written(recipe, digits, seed=0, fused=True):
    """The usual loop: DataLoader, forward, cross-entropy, backward, Adam. Returns model, summed loss, correct."""
    model = models.build(recipe, seed)
    train = TensorDataset(data.to_pixels(digits.train.images), digits.train.labels)
    loader = DataLoader(train, recipe.batch_size, shuffle=True, generator=torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, fused=fused)
    for _ in range(recipe.epochs):
        losses, correct = 0.0, 0
        for pixels, labels in loader:
            logits = model(pixels)
            loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(labels)
            correct += int((logits.argmax(1) == labels).sum())
    return model, losses, correct


def furthest(model, other) -> float:
    """The largest difference between two networks' weights."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max(float((one - two).detach().abs().max()) for one, two in pairs)


def without_seconds(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


def one_line(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_two_runs_of_one_seed_are_bitwise_equal_and_another_seeds_is_not(trained, optdigits, small_recipe):
    model, history = fit(small_recipe, optdigits)
    assert provenance.weights_hash(model) == provenance.weights_hash(trained[0])
    assert without_seconds(history) == without_seconds(trained[1])
    other, _ = fit(small_recipe, optdigits, seed=1)
    assert provenance.weights_hash(other) != provenance.weights_hash(model)


def test_the_seed_also_orders_the_digits(optdigits, small_recipe):
    runs = [training.fit(models.build(small_recipe), optdigits, small_recipe, seed, quiet=True)[0] for seed in (0, 1)]
    assert furthest(*runs) > 0


def test_training_changes_the_weights_and_nothing_else(trained, small_recipe):
    fresh, model = models.build(small_recipe).state_dict(), trained[0].state_dict()
    changed = {name for name in fresh if not torch.equal(fresh[name], model[name])}
    assert changed == set(fresh) - {"0.mean", "0.deviation"}


def test_each_epoch_takes_every_digit_once_in_an_order_of_its_own(optdigits, small_recipe):
    model, seen = models.build(small_recipe), []
    model[0].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]) if layer.training else None)
    training.fit(model, optdigits, small_recipe, quiet=True)
    first, second = torch.cat(seen).double().flatten(1).split(1437)
    key = torch.rand(784, dtype=torch.float64, generator=torch.Generator().manual_seed(0))  # makes an image a number
    expected = data.to_pixels(optdigits.train.images).double().flatten(1) @ key
    assert not torch.equal(first, second)
    for epoch in (first, second):
        assert torch.allclose((epoch @ key).sort().values, expected.sort().values, rtol=1e-12)
        assert not torch.allclose(epoch @ key, expected)  # shuffled


def test_three_epochs_are_bitwise_those_of_the_usual_loop_without_evaluation(optdigits, small_recipe):
    recipe = dataclasses.replace(small_recipe, epochs=3)
    model, _ = fit(recipe, optdigits)
    assert provenance.weights_hash(model) == provenance.weights_hash(hand_written(recipe, optdigits)[0])


def test_the_fused_optimiser_is_the_plain_one_to_rounding(optdigits, small_recipe):
    few = dataclasses.replace(optdigits, train=optdigits.train.take(torch.arange(256)))  # four steps
    recipe = dataclasses.replace(small_recipe, epochs=1)
    model, _ = fit(recipe, few)
    assert furthest(model, hand_written(recipe, few, fused=False)[0]) < 1e-5
    assert furthest(model, models.build(recipe)) > 1e-3


def test_a_row_of_the_history_is_what_a_hand_counts(optdigits, small_recipe):
    recipe = dataclasses.replace(small_recipe, epochs=1)
    (row,) = fit(recipe, optdigits)[1]
    model, losses, correct = hand_written(recipe, optdigits)
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
    model = models.build(small_recipe)
    hashes = []
    training.fit(
        model, digits, small_recipe, quiet=True, on_epoch=lambda _: hashes.append(provenance.weights_hash(model))
    )
    history = fit(small_recipe, digits)[1]
    assert history[0]["held_out_loss"] < history[1]["held_out_loss"]
    assert provenance.weights_hash(model) == hashes[1] != hashes[0]


def test_sgd_has_the_published_projects_momentum(optdigits):
    recipe = dataclasses.replace(SGD, epochs=1)
    assert (recipe.batch_size, recipe.learning_rate, recipe.momentum) == (32, 0.001, 0.9)
    by_hand, generator = models.build(recipe), torch.Generator().manual_seed(0)
    speeds = [torch.zeros_like(weights) for weights in by_hand.parameters()]
    for images, labels in data.batches(optdigits.train, 32, generator):
        loss = F.cross_entropy(by_hand(data.to_pixels(images)), labels)
        slopes = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for weights, speed, slope in zip(by_hand.parameters(), speeds, slopes, strict=True):
                speed.mul_(0.9).add_(slope)
                weights.sub_(0.001 * speed)
    model, _ = fit(recipe, optdigits)
    assert furthest(model, by_hand) < 1e-5
    assert furthest(model, fit(dataclasses.replace(recipe, momentum=0.0), optdigits)[0]) > 1e-3


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


@pytest.mark.parametrize("recipe", [recipes.get("mlp_128_adam", epochs=2), SGD], ids=["adam", "sgd"])
def test_two_epochs_are_one_and_resume_and_one(recipe, optdigits, tmp_path):
    path, run = tmp_path / "progress.pth", (recipe, "optdigits", 0)
    keep = functools.partial(checkpoints.save_progress, path, *run)
    stopped, _ = fit(dataclasses.replace(recipe, epochs=1), optdigits, on_epoch=keep)
    start = checkpoints.load_progress(path, *run)
    other_weights = models.build(recipe, seed=5)
    resumed, history = training.fit(other_weights, optdigits, recipe, quiet=True, resume=start)
    whole, whole_history = fit(recipe, optdigits)
    assert provenance.weights_hash(resumed) == provenance.weights_hash(whole) != provenance.weights_hash(stopped)
    assert without_seconds(history) == without_seconds(whole_history)


def test_going_on_leaves_the_progress_it_was_given_as_it_was(optdigits, small_recipe):
    kept = []
    fit(small_recipe, optdigits, on_epoch=lambda progress: kept.append(copy.deepcopy(progress)))
    runs = [training.fit(models.build(small_recipe), optdigits, small_recipe, quiet=True, resume=kept[0])[0]]
    runs.append(training.fit(models.build(small_recipe), optdigits, small_recipe, quiet=True, resume=kept[0])[0])
    assert provenance.weights_hash(runs[0]) == provenance.weights_hash(runs[1])
    assert len(kept[0]["history"]) == 1


def test_a_run_does_not_go_on_to_fewer_epochs_than_are_done(trained, optdigits, small_recipe):
    shorter = dataclasses.replace(small_recipe, epochs=1)
    state = training.TrainState.create(trained[0], small_recipe, seed=0)
    state.history = trained[1]
    with pytest.raises(UserError, match="2 epochs are done") as caught:
        training.fit(models.build(shorter), optdigits, shorter, quiet=True, resume=state.state_dict())
    assert "--epochs" in one_line(caught)


@pytest.mark.parametrize(
    ("recipe", "dataset", "seed"),
    [
        (recipes.get("mlp_128_adam", learning_rate=0.01), "optdigits", 0),
        (recipes.get("mlp_128_64_adam_10ep"), "optdigits", 0),
        (recipes.get("mlp_128_adam"), "mnist", 0),
        (recipes.get("mlp_128_adam"), "optdigits", 1),
    ],
    ids=["learning rate", "recipe", "data set", "seed"],
)
def test_the_progress_of_another_run_is_refused(recipe, dataset, seed, tmp_path):
    path, own = tmp_path / "progress.pth", (recipes.get("mlp_128_adam", epochs=1), "optdigits", 0)
    checkpoints.save_progress(path, *own, {"epoch": 1})
    assert checkpoints.load_progress(path, *own) == {"epoch": 1}
    with pytest.raises(UserError, match="a run with other settings") as caught:
        checkpoints.load_progress(path, recipe, dataset, seed)
    assert one_line(caught).startswith(str(path))


@pytest.mark.parametrize(
    "content", [None, [1], {"format": 1}, {"format": 9, "progress": {}}, {"format": 1, "progress": {}}]
)
def test_what_is_no_progress_is_refused(content, tmp_path, small_recipe):
    if content is not None:
        torch.save(content, tmp_path / "progress.pth")
    with pytest.raises(UserError, match=r"progress file|to resume|other settings") as caught:
        checkpoints.load_progress(tmp_path / "progress.pth", small_recipe, "optdigits", 0)
    assert "progress.pth" in one_line(caught) and "without --resume" in one_line(caught)


def test_a_batch_larger_than_the_set_is_refused(optdigits, small_recipe):
    with pytest.raises(UserError, match="batch size 1,438 is larger than the 1,437 training digits") as caught:
        fit(dataclasses.replace(small_recipe, batch_size=1438), optdigits)
    one_line(caught)


@pytest.mark.parametrize(
    ("name", "threads", "words"),
    [
        ("gpu", 1, "unknown device 'gpu'; there are auto, cuda, mps, cpu"),
        ("cuda", 1, "this machine has no cuda"),
        ("mps", 1, "this machine has no mps"),
        ("cpu", 0, "threads must be at least 1"),
        ("auto", -3, "threads must be at least 1"),
        ("cpu", 10**30, "threads must be at least 1"),
    ],
)
def test_a_device_that_is_unknown_or_not_there_is_refused(name, threads, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=words) as caught:
        choose_device(name, threads)
    one_line(caught)


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_the_automatic_device_is_cuda_then_mps_then_the_cpu(cuda, mps, chosen, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == torch.device(chosen)
    assert choose_device("cpu") == torch.device("cpu")


def test_the_number_of_threads_is_set():
    before = torch.get_num_threads()
    try:
        choose_device("cpu", threads=before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_numbers_below_the_least_normal_one_count_as_nought():
    tiny = torch.full((3,), 1e-30)
    assert (tiny * 1e-10).all()
    choose_device("cpu")
    assert not (tiny * 1e-10).any()


def test_they_do_in_all_threads_of_a_new_process():
    script = (
        "import torch; from digit_recognizer.runtime.device import choose_device; choose_device('cpu', 2);"
        "products = torch.full((400_000,), 1e-30) * 1e-10;"
        "print(torch.get_num_threads(), int(products.view(torch.int32).count_nonzero()))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "2 0\n"


def test_a_training_leaves_no_semaphore_behind_if_it_is_killed():
    script = (
        "from multiprocessing import resource_tracker, set_start_method\n"
        "set_start_method('spawn')\n"  # as workers start; forked ones share nothing that has a name
        "from digit_recognizer import data, models, recipes, training\n"
        "recipe = recipes.get('mlp_128_adam', epochs=1)\n"
        "training.fit(models.build(recipe), data.load('optdigits'), recipe)\n"
        "print(resource_tracker._resource_tracker._fd)"  # it is started for the first semaphore
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.splitlines()[-1] == "None"


@pytest.mark.parametrize("name", ["test", "validation"])
def test_an_epoch_prints_one_line_with_the_name_of_the_held_out_part(name, capsys, small_recipe):
    fit(small_recipe, data.load("optdigits", validation=name == "validation"), quiet=False)
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) == 2 and captured.err == ""
    for number, line in enumerate(lines, start=1):
        words = line.split()
        assert words[:4] == ["epoch", f"{number}/2", "train", "loss"]
        assert words[7:9] == [name, "loss"] and words[5] == words[10] == "accuracy"


def test_quiet_prints_nothing(capsys, optdigits, small_recipe):
    fit(small_recipe, optdigits, quiet=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("quiet", [False, True])
def test_whoever_watches_sees_a_bar_with_loss_and_accuracy(quiet, monkeypatch, optdigits, small_recipe):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    always = {"__init__": functools.partialmethod(tqdm.__init__, mininterval=0)}
    monkeypatch.setattr(training, "tqdm", type("always", (tqdm,), always))
    model, _ = fit(small_recipe, optdigits, quiet=quiet)
    shown = screen.getvalue()
    assert ("epoch 2" in shown and "loss 0." in shown and ", accuracy " in shown) is not quiet
    assert not quiet or shown == ""
    assert provenance.weights_hash(model) == provenance.weights_hash(fit(small_recipe, optdigits)[0])


def test_a_training_that_diverges_is_refused_before_anything_is_kept(optdigits, small_recipe):
    kept = []
    recipe = dataclasses.replace(small_recipe, learning_rate=1e300)
    with pytest.raises(UserError, match="smaller learning rate") as caught:
        training.fit(models.build(recipe), optdigits, recipe, quiet=True, on_epoch=kept.append)
    one_line(caught)
    assert kept == []


@pytest.mark.parametrize(
    "change", [{"history": 5}, {"history": [{}]}, {"history": "ab"}, {"model": {}}, {"optimizer": {}}, {"generator": 3}]
)
def test_a_progress_with_wrong_parts_is_refused(change, optdigits, small_recipe):
    kept = []
    training.fit(models.build(small_recipe), optdigits, small_recipe, quiet=True, on_epoch=kept.append)
    with pytest.raises(UserError, match="does not fit this training") as caught:
        training.fit(models.build(small_recipe), optdigits, small_recipe, quiet=True, resume=kept[-1] | change)
    one_line(caught)
