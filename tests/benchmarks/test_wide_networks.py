"""The trial of wide networks: its variants differ from the base in one factor; trainings are saved one by one."""

import dataclasses
import json

import pytest
import torch

from benchmarks.trials import wide_networks
from digit_recognizer import models
from digit_recognizer.cli.parser import run_main
from digit_recognizer.study import cross_validation

VARIANTS = wide_networks.VARIANTS


def call(monkeypatch, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["wide_networks", *map(str, arguments)])
    run_main(wide_networks.main)


@pytest.fixture
def trained(monkeypatch) -> list[tuple]:
    """Trainings take no time; one of seed s reads s - 99 digits wrong, twice as many without residual layers."""
    calls: list[tuple] = []

    def train(name, recipe, fold, data_dir, repeat, device, few):
        calls.append((name, fold, repeat))
        seed = cross_validation.seed_of(fold, repeat)
        wrong = [*range((seed - 99) * (1 + (name == "no_residual")))]
        return name, {"fold": fold, "seed": seed, "wrong": wrong, "calibrated_loss": 0.5, "seconds": 2.0}

    monkeypatch.setattr(cross_validation, "train_fold", train)
    return calls


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_can_be_built_and_reads_digits(name):
    recipe = VARIANTS[name]
    model = models.build(recipe).eval()
    assert models.parameter_count(model) == recipe.parameter_count
    assert model(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_a_variant_changes_one_factor():
    base, network = dataclasses.asdict(VARIANTS["base"]), {"convolutions", "widths", "side"}
    changed = {
        name: {field for field, value in dataclasses.asdict(recipe).items() if value != base[field]}
        for name, recipe in VARIANTS.items()
        if not name.startswith("cnn_best")
    }
    assert changed.pop("base") == set() and changed.pop("no_residual") == {"convolutions"}
    assert changed.pop("sgd") == {"optimizer", "learning_rate", "schedule", "momentum", "nesterov"}
    assert changed.pop("smoothing") == {"label_smoothing"} and changed.pop("pens") == {"augmentation"}
    assert changed.pop("batch_250") == {"batch_size"}
    assert len(changed) == 4 and all(fields <= network for fields in changed.values())


def test_it_is_tried_with_few_digits_and_nothing_is_written(mnist, monkeypatch, capsys, tmp_path):
    call(monkeypatch, "--variants", "cnn_best", "--seeds", 1, "--device", "cpu", "--quick", "--out", tmp_path)
    *lines, _, row = capsys.readouterr().out.splitlines()
    assert len(lines) == cross_validation.FOLDS and row.split()[:2] == ["cnn_best", "3"]
    assert not list(tmp_path.iterdir())


def test_a_training_is_saved_as_it_ends_and_not_repeated(mnist, trained, monkeypatch, capsys, tmp_path):
    arguments = ("--variants", "base", "no_residual", "--seeds", 2, "--out", tmp_path)
    with monkeypatch.context() as stopped:
        train = cross_validation.train_fold
        stop = lambda *given: {}["stopped"] if len(trained) == 5 else train(*given)  # noqa: E731
        stopped.setattr(cross_validation, "train_fold", stop)
        with pytest.raises(KeyError, match="stopped"):
            call(stopped, *arguments)
    record = json.loads((tmp_path / "trials/wide_networks.json").read_text())
    assert {name: len(each["trainings"]) for name, each in record.items()} == {"base": 3, "no_residual": 2}
    call(monkeypatch, *arguments)
    assert len(trained) == len(set(trained)) == 12
    assert trained[:4] == [("base", 0, 0), ("no_residual", 0, 0), ("base", 1, 0), ("no_residual", 1, 0)]
    base, other = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines()[-2:])
    assert base == "base 6 3.5 ± 1.9 1 to 6 0.50000 2"
    assert other == "no_residual 6 7.0 ± 3.7 2 to 12 3.5 ± s.e. 0.8 0.50000 2"
