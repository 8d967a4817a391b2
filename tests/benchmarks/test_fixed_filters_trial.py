"""The trial of fixed filters: variants are counted on held-out digits, and the recipe is timed beside another."""

import json

import torch

from benchmarks.trials import fixed_filters
from digit_recognizer import data
from digit_recognizer.cli.parser import run_main


def test_all_is_counted_timed_and_saved(mnist, monkeypatch, capsys, tmp_path):
    few = data.Digits(
        "mnist", mnist.train.take(torch.arange(12_000)), None, mnist.test.take(torch.arange(500)), mnist.md5
    )
    monkeypatch.setattr(data, "load", lambda *given: few)
    monkeypatch.setattr(fixed_filters, "VARIANTS", {"cnn_in_a_second": fixed_filters.RECIPE})
    arguments = ["--parts", "1", "--seeds", "1", "--threads", "1", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["fixed_filters", *arguments])
    run_main(fixed_filters.main)
    found = json.loads((tmp_path / "trials" / "fixed_filters.json").read_text())
    (base,), (ours,) = found["runs"].values()
    assert found["of"] == 1000 and found["wrong"]["cnn_in_a_second"][0] < 200
    assert base["accuracy"] > 0.8 < ours["accuracy"] and base["weights"] != ours["weights"]
    assert found["ratios"] == [ours["seconds"] / base["seconds"]]
    assert "times as long" in capsys.readouterr().out
