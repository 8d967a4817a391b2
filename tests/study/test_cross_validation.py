"""3-fold cross-validation: the folds, the recipes it takes, what it keeps, and the comparison."""

import dataclasses
import json

import pytest
import torch

from digit_recognizer import data, evaluation, models, recipes, training
from digit_recognizer.data import Digits
from digit_recognizer.recipes.recipe import Augmentation
from digit_recognizer.runtime.device import training_precision
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import cross_validation

SMALL = 'mlp_128_adam epochs=1 dataset="optdigits"'
OTHER = SMALL + " batch_size=16"


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    monkeypatch.setattr(cross_validation.executors.joblib, "cpu_count", lambda: 1)


def test_the_folds_are_disjoint_and_hold_every_digit_once(optdigits):
    held_out = []
    for fold in range(3):
        train, third, indices = cross_validation.split_fold(optdigits.train, fold)
        others = sorted(set(range(1437)) - set(indices.tolist()))
        assert third.images.equal(optdigits.train.images[indices])
        assert train.labels.equal(optdigits.train.labels[others])
        held_out += indices.tolist()
    assert sorted(held_out) == list(range(1437))


def test_the_folds_are_those_of_the_committed_results():
    labels = torch.arange(60_000) % 10
    indices = cross_validation.split_fold(data.Split(labels.view(-1, 1, 1), labels), 0)[2]
    assert (len(indices), indices[:5].tolist()) == (20_000, [1, 3, 6, 12, 13])


def test_a_recipe_with_changes():
    changed = cross_validation.parse_recipe("cnn_best epochs=20 augmentation.elastic=1.5")
    original = recipes.get("cnn_best")
    bent = dataclasses.replace(original.augmentation, elastic=1.5)
    assert changed == dataclasses.replace(original, epochs=20, augmentation=bent)
    assert cross_validation.parse_recipe("cnn_best") == original
    wide = cross_validation.parse_recipe('cnn_best convolutions=[{"channels":8}] widths=[6272,10]')  # valid together
    assert (wide.convolutions[0].channels, wide.widths) == (8, (6272, 10))
    assert cross_validation.parse_recipe("cnn_in_seconds side=32").side == 32  # which its settings leave out
    whole = cross_validation.parse_recipe('mlp_best augmentation={"elastic":2}')
    assert whole.augmentation == Augmentation(elastic=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown recipe ''"),
        ("cnn_bets", "the nearest is cnn_best"),
        ("epochs=2", "'epochs=2' is not a recipe; quote a recipe with its changes"),
        ("cnn_best epoch=2", "'epoch=2' changes no field"),
        ("cnn_best augmentation.epochs=2", "changes no field"),
        ("cnn_best epochs", "epochs cannot be ''; write it as JSON, text in double quotes"),
        ("cnn_best epochs=[2]", "epochs must be a whole number, not .2."),
        ("cnn_best epochs=null", "epochs cannot be 'null'"),
        ("cnn_best widths=3", "is not a recipe"),
        ('cnn_best convolutions=[{"size":3}]', "is not a recipe"),
        ("cnn_best augmentation=3 augmentation.shift=1", "changes no field"),
        ("cnn_best augmentation.shift=99", "the strength of shift must be"),
    ],
)
def test_an_invalid_recipe_costs_one_line(text, message):
    with pytest.raises(UserError, match=message):
        cross_validation.parse_recipe(text)


def test_results_are_those_of_plain_training_and_are_kept(tmp_path, capsys, optdigits, monkeypatch):
    cross_validation.run([SMALL, OTHER], tmp_path)
    printed = capsys.readouterr().out
    file = tmp_path / "folds.json"
    known = json.loads(file.read_text())
    assert list(known) == [SMALL, OTHER]
    train, third, indices = cross_validation.split_fold(optdigits.train, 1)
    recipe = recipes.get("mlp_128_adam", epochs=1, dataset="optdigits")
    digits = Digits("optdigits", train, None, third, {})
    model, _ = training.fit(models.build(recipe, 101), digits, recipe, 101, quiet=True)
    logits, labels = evaluation.predict(model, third.images), third.labels
    fold = known[SMALL]["folds"][1]
    assert fold["wrong"] == indices[logits.argmax(1) != labels].tolist()
    assert (fold["count"], fold["seed"]) == (479, 101)
    losses = [torch.nn.functional.cross_entropy(logits.double() * 2**power, labels).item() for power in range(-3, 4)]
    assert 0 < fold["calibrated_loss"] <= min(losses) and losses[3] == pytest.approx(fold["loss"], abs=1e-5)
    total = f"{sum(len(each['wrong']) for each in known[SMALL]['folds'])} of 1,437"
    assert total in printed and "batch_size=16" in printed

    known[OTHER]["settings"]["epochs"] = 7  # other settings under the same text: trained again
    known[OTHER]["folds"][0]["loss"] = -1
    file.write_text(json.dumps(known))
    cross_validation.run([OTHER], tmp_path)
    assert json.loads(file.read_text())[OTHER]["folds"][0]["loss"] > 0

    monkeypatch.setattr(cross_validation, "train_fold", None)  # equal settings, in other words: not trained again
    for text in (SMALL, 'mlp_128_adam dataset="optdigits"   epochs=1'):
        cross_validation.run([text], tmp_path)
        assert total in capsys.readouterr().out


def test_a_fold_says_the_precision_it_was_trained_in():
    recipe = recipes.get("mlp_128_adam", dataset="optdigits", epochs=1, precision="bfloat16")
    _, fold = cross_validation.train_fold("any", recipe, 0)
    assert fold["made_with"]["training_precision"] == training_precision("bfloat16", torch.device("cpu"))


def test_missing_data_end_it_before_any_training(tmp_path, no_network, command):
    status, _, error = command("compare", "mlp_128_adam", "--data-dir", tmp_path / "empty", "--out", tmp_path)
    assert status == 2 and error.startswith("error: MNIST is not in") and error.count("\n") == 1
    assert not (tmp_path / "folds.json").exists()


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"a": 3}', '{"a": {"settings": {}, "folds": []}}', '{"a": {"settings": {}, "folds": [{}, {}, {}]}}'],
)
def test_a_file_with_other_content_is_not_overwritten(content, tmp_path):
    (tmp_path / "folds.json").write_text(content)
    with pytest.raises(UserError, match=r"folds.json is not a file of compare; delete it"):
        cross_validation.run(["cnn_best"], tmp_path)
    assert (tmp_path / "folds.json").read_text() == content


def test_the_table_counts_discordant_pairs():
    def folds(*wrong):
        return [{"wrong": list(wrong), "count": 100, "loss": 0.5, "calibrated_loss": 0.25, "seconds": 1.0}]

    table = cross_validation.table({
        "one": folds(*range(12)), "two": folds(10, 11, 12, 13), "same": folds(*range(12)), "far": folds(),
    })  # fmt: skip
    lines = [line.split() for line in table.splitlines()[1:]]
    assert lines[0] == ["12", "of", "100", "12", "0.5000", "0.25000", "1", "one"]
    # 2 of 12 as the rarer: twice (1 + 12 + 66) of 4,096, by the binomial coefficients.
    assert lines[1] == ["4", "of", "100", "4", "0.5000", "0.25000", "1", "2,", "10", f"{2 * 79 / 4096:.2f}", "two"]
    assert lines[2][-4:] == ["0,", "0", "1.00", "same"] and lines[3][-4:] == ["0,", "12", "<0.01", "far"]
