"""The trial of committees: members' probabilities are averaged, on thirds of the training digits and for a study."""

import json

import numpy as np
import pytest
import torch

from benchmarks.trials import committees
from digit_recognizer.cli.parser import run_main
from digit_recognizer.study import cross_validation


def logits_of(guesses: torch.Tensor) -> np.ndarray:
    """Logits of networks that are sure of these digits."""
    return (10 * torch.nn.functional.one_hot(guesses, 10)).numpy().astype(np.float16)


def test_members_of_a_committee_correct_each_other(mnist, monkeypatch, capsys, tmp_path):
    logits, study = tmp_path / "logits", tmp_path / "out" / "made_up"
    logits.mkdir(), study.mkdir(parents=True), (tmp_path / "out" / "trials").mkdir()
    names, trainings = ("first", "second"), {"temperature": 2.0}
    for repeat in range(committees.REPEATS):
        for fold in range(cross_validation.FOLDS):
            seed = cross_validation.seed_of(fold, repeat)
            for place, name in enumerate(names):
                guesses = cross_validation.split_fold(mnist.train, fold)[1].labels.clone()
                start = 2 * place + repeat  # each member is wrong of another digit, and half as sure of it
                guesses[start] = (guesses[start] + 1) % 10
                made = logits_of(guesses)
                made[start] /= 2
                np.save(logits / f"{name}-{seed}.npy", made)
    record = {name: {"trainings": [trainings]} for name in names} | {"older": {"trainings": [{}]}}
    (tmp_path / "out" / "trials" / "best_network.json").write_text(json.dumps(record))
    for seed in range(2):
        probabilities = torch.from_numpy(logits_of(mnist.test.labels)).float().softmax(1)
        probabilities[seed] = 0.1
        np.save(study / f"mnist-seed{seed}.npy", probabilities.numpy())
    with monkeypatch.context() as patch, pytest.raises(KeyError, match="made_up"):
        patch.setattr("sys.argv", ["committees", str(logits), "--study", "made_up", "--out", str(tmp_path / "out")])
        run_main(committees.main)
    record["made_up"] = {"trainings": [trainings]}
    (tmp_path / "out" / "trials" / "best_network.json").write_text(json.dumps(record))
    monkeypatch.setattr("sys.argv", ["committees", str(logits), "--study", "made_up", "--out", str(tmp_path / "out")])
    run_main(committees.main)
    found = json.loads((tmp_path / "out" / "trials" / "committees.json").read_text())
    assert found == {**json.loads(capsys.readouterr().out), "made_with": found["made_with"]}
    assert found["temperatures"] == {"first": 2, "second": 2, "made_up": 2} and "older" not in found["thirds"]
    first, both = found["thirds"]["first"], found["thirds"]["first + second"]
    assert (first["members"], first["alone"], both["members"], both["alone"]) == (2, 3, 4, 3)
    assert both["together"] == 0 and both["loss_together"] < both["loss_alone"]
    test = found["test"]["made_up"]
    assert test["wrong_by_all"] == 0 and test["together"]["wrong"] == 0 and test["together"]["loss"] < min(test["loss"])
