"""The trial of long recipes: epochs of few digits in turns, and the page says what the record says."""

import json
from pathlib import Path

from benchmarks.trials import long_epochs
from digit_recognizer import data, recipes
from digit_recognizer.cli.parser import run_main

ROOT = Path(__file__).parents[2]


def test_all_are_timed_in_turns_and_saved(mnist, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(data, "load", lambda *given: mnist)
    monkeypatch.setattr(long_epochs, "RECIPES", (long_epochs.BASE, recipes.get("cnn_in_seconds")))
    arguments = ["--rounds", "2", "--digits", "300", "--threads", "1", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["long_epochs", *arguments])
    run_main(long_epochs.main)
    found = json.loads((tmp_path / "trials" / "long_epochs.json").read_text())
    base, quick = found["seconds"].values()
    assert len(base) == 2 and found["ratios"]["cnn_best"] == [1.0, 1.0]
    assert found["ratios"]["cnn_in_seconds"] == [quick[0] / base[0], quick[1] / base[1]]
    assert "cnn_in_seconds" in capsys.readouterr().out
