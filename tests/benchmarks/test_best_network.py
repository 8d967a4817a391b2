"""The trial of the best single network: its variants differ in one factor; trainings are saved one by one."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from benchmarks.trials import best_network
from digit_recognizer import models
from digit_recognizer.cli.parser import run_main
from digit_recognizer.study import cross_validation

VARIANTS = best_network.VARIANTS


def call(monkeypatch, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["best_network", *map(str, arguments)])
    run_main(best_network.main)


@pytest.fixture
def trained(monkeypatch) -> list[tuple]:
    """Trainings take no time; one of seed s reads s - 99 digits wrong, twice as many with residual layers."""
    calls: list[tuple] = []

    def train(name, recipe, fold, data_dir, repeat, device, few):
        calls.append((name, fold, repeat))
        seed = cross_validation.seed_of(fold, repeat)
        wrong = [*range((seed - 99) * (1 + (name == "residual")))]
        training = {"fold": fold, "seed": seed, "wrong": wrong, "calibrated_loss": 0.5, "seconds": 2.0}
        return name, training, np.full((4, 10), seed, np.float16)

    monkeypatch.setattr(best_network, "train", train)
    return calls


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_can_be_built_and_reads_digits(name):
    recipe = VARIANTS[name]
    model = models.build(recipe).eval()
    assert models.parameter_count(model) == recipe.parameter_count
    assert model(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_a_variant_changes_one_factor():
    best = dataclasses.asdict(VARIANTS["cnn_best"])
    changed = {
        name: {field for field, value in dataclasses.asdict(recipe).items() if value != best[field]}
        for name, recipe in VARIANTS.items()
    }
    assert changed.pop("cnn_best") == set() and changed.pop("smoothing_0.05") == {"label_smoothing"}
    assert changed.pop("enlarged") == {"side"} and changed.pop("residual") == {"convolutions"}
    assert changed.pop("batch_64") == {"batch_size", "learning_rate"}
    assert changed.pop("twice_as_wide") == changed.pop("kernels_7") == {"convolutions", "widths"}
    assert changed.pop("twice_as_long") == {"epochs"}
    assert changed.pop("twice_as_wide_and_long") == {"convolutions", "widths", "epochs"}
    wide = {"convolutions", "widths", "epochs", "label_smoothing"}
    assert changed.pop("wide_residual") == changed.pop("wide_residual_0.02") == wide
    assert changed.pop("cnn_best_wide") == wide | {"augmentation", "name", "source"}
    assert changed.pop("half_wide_layers") == {"convolutions", "widths", "side"}
    assert set(changed) == {"half_wide", "half_wide_sgd"}  # of cnn_wide, which differs in more


def test_it_is_tried_with_few_digits_and_nothing_is_written(mnist, monkeypatch, capsys, tmp_path):
    call(monkeypatch, "--variants", "cnn_best", "--seeds", 1, "--device", "cpu", "--quick", "--out", tmp_path)
    *lines, _, row = capsys.readouterr().out.splitlines()
    assert len(lines) == cross_validation.FOLDS and row.split()[:2] == ["cnn_best", "3"]
    assert not list(tmp_path.iterdir())


def test_a_training_is_saved_as_it_ends_and_not_repeated(mnist, trained, monkeypatch, capsys, tmp_path):
    arguments = ("--variants", "cnn_best", "residual", "--seeds", 2, "--out", tmp_path, "--logits", tmp_path)
    with monkeypatch.context() as stopped:
        train = best_network.train
        stop = lambda *given: {}["stopped"] if len(trained) == 5 else train(*given)  # noqa: E731
        stopped.setattr(best_network, "train", stop)
        with pytest.raises(KeyError, match="stopped"):
            call(stopped, *arguments)
    record = json.loads((tmp_path / "trials/best_network.json").read_text())
    assert {name: len(each["trainings"]) for name, each in record.items()} == {"cnn_best": 3, "residual": 2}
    call(monkeypatch, *arguments)
    assert len(trained) == len(set(trained)) == 12
    assert trained[:4] == [("cnn_best", 0, 0), ("residual", 0, 0), ("cnn_best", 1, 0), ("residual", 1, 0)]
    base, other = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[-2:])
    assert base == "cnn_best 6 3.5 ± 1.9 1 to 6 0.50000 2"
    assert other == "residual 6 7.0 ± 3.7 2 to 12 3.5 ± s.e. 0.8 0.50000 2"
    assert (np.load(tmp_path / "residual-105.npy") == 105).all()


def test_a_record_of_other_settings_is_kept(mnist, trained, monkeypatch, capsys, tmp_path):
    path = tmp_path / "trials/best_network.json"
    path.parent.mkdir()
    earlier = {"settings": VARIANTS["residual"].settings, "trainings": []}
    path.write_text(json.dumps({"earlier": earlier, "cnn_best": earlier}))
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, "--variants", "cnn_best", "--out", tmp_path)
    assert "cnn_best had other settings; give it another name" in capsys.readouterr().err and not trained
    path.write_text(json.dumps({"earlier": earlier}))
    call(monkeypatch, "--variants", "cnn_best", "--seeds", 1, "--out", tmp_path)
    assert json.loads(path.read_text())["earlier"] == earlier
