"""The stopwatch times the training that the study records, and says when the machine was busy."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks_main
from benchmarks import training_time
from digit_recognizer.recipes.ours import OURS
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.study import run as study_run

ROOT = Path(__file__).parents[2]


def test_what_is_timed_is_the_recipes_training(optdigits, small_recipe):
    run = training_time.timed(small_recipe, optdigits, 1, threads=1)
    assert 0 < run["seconds"] < 60
    record, _ = study_run.train(small_recipe, optdigits, 1)
    assert (run["seed"], run["accuracy"]) == (1, record["scores"]["accuracy"])


def test_a_prediction_takes_time_and_a_batch_less_for_each(optdigits, small_recipe):
    found = training_time.prediction(small_recipe, optdigits, times=20)
    assert 0 < found["one_digit_ms"] < 100
    assert found["digits_per_second"] > 1000 / found["one_digit_ms"]


@pytest.fixture(scope="module")
def kept() -> dict:
    """The committed result."""
    return json.loads((ROOT / "results/benchmark.json").read_text())


def test_the_kept_result_holds_every_recipe_and_was_made_on_a_quiet_machine(kept):
    expected = {recipe.name for recipe in (*PUBLISHED, *OURS)}
    assert set(kept["ladder"]["runs"]) == expected
    text = training_time.table(kept["ladder"], kept["predictions"])
    assert "busy" not in text and all(name in text for name in expected)


def test_times_too_far_apart_are_said(kept):
    ladder = json.loads(json.dumps(kept["ladder"]))
    ladder["runs"]["cnn_in_seconds"][0]["seconds"] *= 3
    assert "the machine was busy, run it again: cnn_in_seconds" in training_time.table(ladder, {})


def test_two_benchmarks_at_once_are_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks", "--ladder", "--peers"])
    with pytest.raises(SystemExit, match="2"):
        benchmarks_main.main()
    assert capsys.readouterr().err == "error: argument --peers: not allowed with argument --ladder (see --help)\n"
