"""The training time benchmark times the training that the study records, and reports a busy machine."""

import json
from pathlib import Path

import pytest

from benchmarks import training_time
from digit_recognizer.recipes.ours import OURS
from digit_recognizer.recipes.published import PUBLISHED
from digit_recognizer.study import run as study_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def committed() -> dict:
    return json.loads((ROOT / "results/benchmark.json").read_text())


def test_the_timed_training_is_the_recipes(optdigits, small_recipe):
    run = training_time.time_training(small_recipe, optdigits, 1, threads=1)
    record, _ = study_run.train(small_recipe, optdigits, 1)
    assert run["seconds"] > 0
    assert (run["seed"], run["accuracy"], run["weights"]) == (1, record["scores"]["accuracy"], record["weights"])


def test_predictions_take_time(optdigits, small_recipe):
    assert min(training_time.time_predictions(small_recipe, optdigits, times=20).values()) > 0


def test_the_committed_result_has_every_recipe_and_is_of_a_quiet_machine(committed):
    names = {recipe.name for recipe in (*PUBLISHED, *OURS)}
    assert set(committed["training_time"]["runs"]) == names
    text = training_time.table(committed["training_time"], committed["predictions"])
    assert "busy" not in text and all(name in text for name in names)


def test_a_busy_machine_is_reported(committed):
    noisy = json.loads(json.dumps(committed["training_time"]))
    noisy["runs"]["cnn_in_seconds"][0]["seconds"] *= 3
    assert "the machine was busy; run again: cnn_in_seconds" in training_time.table(noisy, {})
