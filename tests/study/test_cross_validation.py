"""Choosing between recipes on training digits that were held out, each read once by a network that has not seen it."""

import json

import pytest
import torch

from digit_recognizer import data, evaluation, models, recipes, training
from digit_recognizer.data import Digits
from digit_recognizer.recipes.recipe import Augmentation
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import cross_validation

SMALL = 'mlp_128_adam epochs=1 dataset="optdigits"'


@pytest.fixture(autouse=True)
def no_processes(monkeypatch):
    """Trainings in this process, one after the other."""
    monkeypatch.setattr(cross_validation.executors.joblib, "cpu_count", lambda: 1)


def test_the_thirds_are_disjoint_and_hold_every_digit_once(optdigits):
    held_out = []
    for fold in range(3):
        few, third, places = cross_validation.division(optdigits.train, fold)
        assert len(few.labels) + len(third.labels) == 1437 and third.images.equal(optdigits.train.images[places])
        others = sorted(set(range(1437)) - set(places.tolist()))
        assert few.labels.equal(optdigits.train.labels[others])
        held_out += places.tolist()
    assert sorted(held_out) == list(range(1437))


def test_a_recipe_with_changes():
    changed = cross_validation.recipe_of("cnn_best epochs=20 augmentation.elastic=1.5")
    original = recipes.get("cnn_best")
    assert (changed.epochs, changed.augmentation.elastic) == (20, 1.5)
    assert changed.augmentation.rotation == original.augmentation.rotation
    assert cross_validation.recipe_of("cnn_best") == original
    wide = cross_validation.recipe_of('cnn_best convolutions=[{"channels":8}] widths=[6272,10]')  # neither goes alone
    assert (wide.convolutions[0].channels, wide.widths) == (8, (6272, 10))
    bent = cross_validation.recipe_of('mlp_best augmentation={"elastic":2}')
    assert bent.augmentation == Augmentation(elastic=2)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "unknown recipe ''"),
        ("cnn_bets", "the nearest is cnn_best"),
        ("epochs=2", "'epochs=2' is no recipe; quote a recipe with its changes"),
        ("cnn_best epoch=2", "'epoch=2' changes no field"),
        ("cnn_best shear.elastic=2", "changes no field"),
        ("cnn_best augmentation.epochs=2", "changes no field"),
        ("cnn_best epochs", "'' is no value, as JSON writes them .words in double quotes., that epochs"),
        ("cnn_best epochs=many", "'many' is no value"),
        ("cnn_best epochs=[2]", "epochs must be a whole number, not .2."),
        ("cnn_best epochs=null", "'null' is no value"),
        ("cnn_best widths=3", "is no recipe"),
        ('cnn_best convolutions=[{"size":3}]', "is no recipe"),
        ("cnn_best augmentation=3", "is no recipe"),
        ("cnn_best augmentation=3 augmentation.shift=1", "changes no field"),
        ('cnn_best convolutions=[{"channels":8}]', r"need batch normalisation, the widths \(6272, 10\)"),
        ("cnn_best epochs=-1", "epochs must be greater than zero"),
        ("cnn_best augmentation.shift=99", "the strength of shift must be"),
    ],
)
def test_what_is_no_recipe_is_one_line(text, complaint):
    with pytest.raises(UserError, match=complaint):
        cross_validation.recipe_of(text)


def test_what_is_kept_is_what_a_training_by_hand_gives(tmp_path, capsys, optdigits, monkeypatch):
    cross_validation.run([SMALL, SMALL + " batch_size=16"], tmp_path)
    said = capsys.readouterr().out
    kept = json.loads((tmp_path / "folds.json").read_text())
    assert list(kept) == [SMALL, SMALL + " batch_size=16"]
    few, third, places = cross_validation.division(optdigits.train, 1)
    recipe = recipes.get("mlp_128_adam", epochs=1, dataset="optdigits")
    digits = Digits("optdigits", few, None, third, {})
    model, _ = training.fit(models.build(recipe, 101), digits, recipe, 101, quiet=True)
    wrong = evaluation.predict(model, third.images).argmax(1) != third.labels
    part = kept[SMALL]["folds"][1]
    assert part["wrong"] == places[wrong].tolist() and part["count"] == 479 and part["seed"] == 101
    logits, labels = evaluation.predict(model, third.images).double(), third.labels
    losses = [torch.nn.functional.cross_entropy(logits * 2**power, labels).item() for power in range(-3, 4)]
    assert 0 < part["calibrated_loss"] <= min(losses) and losses[3] == pytest.approx(part["loss"], abs=1e-5)
    total = sum(len(part["wrong"]) for part in kept[SMALL]["folds"])
    assert f"{total} of 1,437" in said and "batch_size=16" in said

    monkeypatch.setattr(cross_validation, "train", None)  # what is there is not trained again
    cross_validation.run([SMALL], tmp_path)
    assert f"{total} of 1,437" in capsys.readouterr().out
    cross_validation.run(['mlp_128_adam dataset="optdigits"   epochs=1'], tmp_path)  # nor if asked for in other words
    assert f"{total} of 1,437" in capsys.readouterr().out


def test_another_training_of_that_name_is_made_again(tmp_path):
    cross_validation.run([SMALL], tmp_path)
    kept = json.loads((tmp_path / "folds.json").read_text())
    kept[SMALL]["settings"]["epochs"], kept[SMALL]["folds"][0]["loss"] = 7, -1
    (tmp_path / "folds.json").write_text(json.dumps(kept))
    cross_validation.run([SMALL], tmp_path)
    assert json.loads((tmp_path / "folds.json").read_text())[SMALL]["folds"][0]["loss"] > 0


def test_data_that_cannot_be_had_end_it_before_it_begins(tmp_path, no_network, command):
    status, _, said = command("compare", "mlp_128_adam", "--data-dir", tmp_path / "empty", "--out", tmp_path)
    assert status == 2 and said.startswith("error: MNIST is neither in") and said.count("\n") == 1
    assert not (tmp_path / "folds.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"cnn_best": 3}',
        '{"cnn_best": {"folds": []}}',
        '{"a": {"settings": 1, "folds": [{}, {}, {}]}}',
        '{"a": {"settings": 1, "folds": [{"calibrated_loss": 1}, {"calibrated_loss": 1}, {"calibrated_loss": 1}]}}',
    ],
)
def test_a_file_of_something_else_is_not_overwritten(content, tmp_path):
    (tmp_path / "folds.json").write_text(content)
    with pytest.raises(UserError, match=r"folds.json is not what compare writes; delete it"):
        cross_validation.run(["cnn_best"], tmp_path)
    assert (tmp_path / "folds.json").read_text() == content


def test_the_table_compares_digit_by_digit():
    def result(*wrong):
        return [{"wrong": list(wrong), "count": 100, "loss": 0.5, "calibrated_loss": 0.25, "seconds": 1.0}]

    table = cross_validation.table({
        "one": result(*range(12)), "two": result(10, 11, 12, 13), "same": result(*range(12)), "far": result(),
    })  # fmt: skip
    lines = [line.split() for line in table.splitlines()[1:]]
    assert lines[0] == ["12", "of", "100", "12", "0.5000", "0.25000", "1", "one"]
    # 2 of 12 as the rarer: twice (1 + 12 + 66) of 4,096, by the binomial coefficients.
    assert lines[1] == ["4", "of", "100", "4", "0.5000", "0.25000", "1", "2", "10", f"{2 * 79 / 4096:.2f}", "two"]
    assert lines[2][-4:] == ["0", "0", "1.00", "same"] and lines[3][-4:] == ["0", "12", "<0.01", "far"]


def test_the_thirds_are_those_of_the_kept_trials():
    labels = torch.arange(60_000) % 10
    places = cross_validation.division(data.Split(labels.view(-1, 1, 1), labels), 0)[2]
    assert (len(places), places[:5].tolist()) == (20_000, [1, 3, 6, 12, 13])
