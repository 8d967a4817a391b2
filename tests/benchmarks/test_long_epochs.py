"""The trial of long recipes: epochs of few digits in turns, and the page says what the record says."""

import json
import statistics
from pathlib import Path

import pytest

from benchmarks import harness, training_time
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


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--digits", "60001"], "--digits must be from 125, a batch, to 60,000, not 60001"),
        (["--digits", "124"], "--digits must be from 125, a batch"),
        (["--out", __file__], f"cannot write to the folder {__file__}"),
    ],
)
def test_bad_flags_cost_one_line_before_anything_is_timed(flags, message, mnist, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "load", lambda *given: mnist)
    monkeypatch.setattr(long_epochs.epoch, "our_epoch", lambda *given: pytest.fail("timed"))
    monkeypatch.setattr("sys.argv", ["long_epochs", *flags])
    with pytest.raises(SystemExit, match="2"):
        run_main(long_epochs.main)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_page_on_recipes_quotes_the_record_and_estimates_minutes_from_it():
    page = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    ratios = json.loads((ROOT / "results/trials/long_epochs.json").read_text())["ratios"]
    runs = json.loads((ROOT / "results/benchmark.json").read_text())["training_time"]["runs"]["cnn_best"]
    seconds = statistics.median(run["seconds"] for run in runs)
    for name in training_time.TOO_LONG:
        epochs = recipes.get(name).epochs
        minutes = seconds / 60 * statistics.median(ratios[name]) * epochs / long_epochs.BASE.epochs
        assert f"| `{name}` | {harness.format_spread(ratios[name])} | {epochs} | {minutes:.0f} |" in page
