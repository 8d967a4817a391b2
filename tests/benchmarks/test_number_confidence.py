"""The trial of features of a number's confidence: what it compares, and its record."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.trials import number_confidence
from digit_recognizer.cli import train_pages
from digit_recognizer.cli.parser import run_main
from digit_recognizer.recognition import page_reading

ROOT = Path(__file__).parents[2]


def test_a_feature_that_tells_lowers_the_loss_and_one_that_does_not_leaves_it():
    random = np.random.default_rng(0)
    telling, noise, one = random.normal(0, 1, 4000), random.normal(0, 1, 4000), np.ones(4000)
    are_right = random.random(4000) < 1 / (1 + np.exp(-2 * telling))
    neither, both = (
        number_confidence._score(np.stack(columns, axis=1), are_right)
        for columns in ((one, noise), (one, noise, telling))
    )
    assert neither["log_loss"] == pytest.approx(np.log(2), abs=0.01)
    assert both["log_loss"] < 0.55 and both["calibration_error"] < 0.04


def test_sets_are_compared_on_synthetic_pages_and_saved(mnist, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(number_confidence, "FOLDS", 2)
    monkeypatch.setattr("sys.argv", ["number_confidence", "--pages", "150", "--out", str(tmp_path)])
    features_of = page_reading.confidence_features
    run_main(number_confidence.main)
    assert page_reading.confidence_features is features_of  # as it was
    found = json.loads((tmp_path / "trials/number_confidence.json").read_text())
    assert set(found["sets"]) == set(number_confidence.SETS) and 0 < found["right"] < found["numbers"] < 150
    assert "the library's: log loss" in capsys.readouterr().out


def test_the_record_is_of_all_pages_and_the_library_has_the_better_features_and_docs_show_it():
    record = json.loads((ROOT / "results/trials/number_confidence.json").read_text())
    assert record["numbers"] > train_pages.CALIBRATION_PAGES / 10
    losses = {name: row["log_loss"] for name, row in record["sets"].items()}
    assert losses["the library's"] < losses["before"]
    page = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    for name, row in record["sets"].items():
        assert f"| {name} | {row['log_loss']:.4f} | {row['calibration_error']:.1%} |" in page
