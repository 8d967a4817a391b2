"""A network that learns from others, beside the same training written by hand; stopped, recorded, refused."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from digit_recognizer import checkpoints, data, models, recipes, records, study, teaching, training, verify
from digit_recognizer.errors import UserError
from digit_recognizer.recipe import Convolution, Recipe
from digit_recognizer.strengths import Augmentation


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Two small teachers and their pupil; the last epoch of each is clean."""
    return recipes.get(
        "cnn_in_seconds", convolutions=(Convolution(8, size=6, stride=4),), widths=(8 * 36, 10), epochs=2, teachers=2,
        augmentation=Augmentation(shift=1), clean_epochs=1, precision="float32", dataset="optdigits",
    )  # fmt: skip


def fit(recipe: Recipe, digits: data.Digits, seed: int = 0, **options):
    return training.fit(models.build(recipe, seed), digits, recipe, seed, quiet=True, **options)


@pytest.fixture(scope="module")
def whole(recipe, optdigits):
    """(model, history, states) of the recipe's training."""
    states: list = []
    model, history = fit(recipe, optdigits, after_epoch=lambda state: states.append(copy.deepcopy(state)))
    return model, history, states


def test_each_teacher_is_a_training_of_its_own_from_labels(recipe, whole, optdigits):
    plain = dataclasses.replace(recipe, teachers=0)
    seeds = teaching.seeds(recipe, 0)
    assert len({*seeds, 0}) == 3 and seeds[:1] == teaching.seeds(dataclasses.replace(recipe, teachers=1), 0)
    assert teaching.seeds(recipe, 1) != seeds
    for number, seed in enumerate(seeds):
        teacher, history = fit(plain, optdigits, seed)
        kept = models.build(recipe)
        kept.load_state_dict(whole[2][-1]["networks"][number])
        assert records.weights_hash(kept) == records.weights_hash(teacher)
        losses = [row["train_loss"] for row in whole[1][2 * number : 2 * number + 2]]
        assert losses == [row["train_loss"] for row in history]


def test_the_pupil_learns_their_mean_answer_to_the_pictures_that_it_sees(recipe, whole, optdigits, monkeypatch):
    """The last two epochs by hand: cross-entropy with probabilities in the place of labels."""
    teachers = [models.build(recipe).eval() for _ in range(2)]
    for teacher, weights in zip(teachers, whole[2][-1]["networks"], strict=False):
        teacher.load_state_dict(weights)
    answers = []

    def loss_by_hand(logits, labels, size, smoothing):
        assert len(labels) == size and smoothing == recipe.label_smoothing
        return F.cross_entropy(logits, answers.pop())

    def watch(_, inputs):
        with torch.no_grad():
            answers.append(sum(teacher(inputs[0]).softmax(1) for teacher in teachers) / 2)

    monkeypatch.setattr(training, "batch_loss", loss_by_hand)
    model = models.build(recipe, 0)
    model.register_forward_pre_hook(lambda layer, inputs: watch(layer, inputs) if layer.training else None)
    plain = dataclasses.replace(recipe, teachers=0)
    model, _ = training.fit(model, optdigits, plain, quiet=True)
    for ours, theirs in zip(whole[0].state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    monkeypatch.undo()
    from_labels = fit(plain, optdigits)[0]
    assert not torch.allclose(whole[0][-1].weight, from_labels[-1].weight, rtol=0, atol=1e-3)


def test_the_mean_answer_needs_no_gradient_and_moves_no_teacher(recipe, optdigits):
    teachers = [models.build(recipe, seed).train() for seed in (1, 2)]
    before = [records.weights_hash(teacher) for teacher in teachers]
    pixels = data.to_pixels(optdigits.test.images[:7])
    answer = teaching.mean_answer(teachers, pixels)
    expected = (teachers[0].eval()(pixels).softmax(1) + teachers[1].eval()(pixels).softmax(1)) / 2
    torch.testing.assert_close(answer, expected)
    assert not answer.requires_grad and answer.dtype == torch.float32
    assert [records.weights_hash(teacher) for teacher in teachers] == before  # running statistics are weights, too


@pytest.mark.parametrize("done", [1, 2, 3, 5])
def test_a_stopped_training_goes_on_to_the_same_weights(done, recipe, whole, optdigits, tmp_path):
    path, run = tmp_path / "progress.pth", (recipe, "optdigits", 0)
    checkpoints.save_progress(path, *run, whole[2][done - 1])
    model, history = fit(recipe, optdigits, start=checkpoints.load_progress(path, *run))
    assert records.weights_hash(model) == records.weights_hash(whole[0])
    assert [row["train_loss"] for row in history] == [row["train_loss"] for row in whole[1]]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]


def test_epochs_of_other_networks_than_there_are_do_not_fit(recipe, whole, optdigits):
    for changed in ({"networks": whole[2][0]["networks"]}, {"history": whole[1][:4]}, {"history": []}):
        with pytest.raises(UserError, match="does not fit this training"):
            fit(recipe, optdigits, start=whole[2][4] | changed)


def test_only_the_pupil_is_scored_and_its_cost_is_everyones(recipe, whole, optdigits):
    assert [row["held_out_accuracy"] is None for row in whole[1]] == [True] * 5 + [False]
    record, _ = study.train(recipe, optdigits, 0)
    assert record["seconds"] == sum(row["seconds"] for row in record["history"]) and len(record["history"]) == 6
    assert record["weights"] == records.weights_hash(whole[0])


def test_a_taught_run_is_studied_and_verified(recipe, tmp_path, capsys):
    study.run([recipe], 1, tmp_path, workers=1)
    assert len(records.read(tmp_path, recipe, 0)["history"]) == 6
    assert verify.run(records.path_of(tmp_path, recipe, 0), threads=1) == 0
    assert "identical: the same weights to the bit" in capsys.readouterr().out


def test_a_plain_network_is_taught_by_autograd_and_its_teachers_learn_by_hand(optdigits):
    recipe = recipes.get("mlp_128_adam", epochs=1, teachers=1)
    model, history = fit(recipe, optdigits)
    teacher, alone = fit(dataclasses.replace(recipe, teachers=0), optdigits, teaching.seeds(recipe, 0)[0])
    assert history[0]["train_loss"] == alone[0]["train_loss"]
    from_labels, _ = fit(dataclasses.replace(recipe, teachers=0), optdigits)
    hashes = {records.weights_hash(network) for network in (model, teacher, from_labels)}
    assert len(hashes) == 3


def test_teachers_give_logits():
    with pytest.raises(UserError, match="give logits"):
        recipes.get("mlp_128_64_adam_200ep", teachers=1)
