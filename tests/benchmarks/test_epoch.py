"""The benchmark times the same training in turn, and README quotes what it kept."""

import json
import statistics
from pathlib import Path

import pytest
import torch

from benchmarks import epoch
from digit_recognizer import recipes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kept() -> dict:
    """The committed result."""
    return json.loads((ROOT / "results/benchmark.json").read_text())


def test_loops_and_settings_are_timed_in_turn():
    order = []
    loops = {"a": lambda: order.append(("a", torch.get_num_threads())) or 1.0, "b": lambda: order.append("b") or 2.0}
    seconds = epoch.in_turn(loops, [1], 2)
    assert order == [("a", 1), "b"] * 3  # one unmeasured round, then two
    assert seconds == {"a": {1: [1.0, 1.0]}, "b": {1: [2.0, 2.0]}}


def test_ours_and_its_parts_take_time(optdigits):
    recipe = recipes.get("mlp_128_adam")
    assert 0 < epoch.our_epoch(optdigits.train, recipe) < 10
    parts = epoch.parts(optdigits.train, recipe)
    assert list(parts) == ["batch", "gradients", "step"]
    assert min(parts.values()) > 0


def test_the_usual_loop_trains_on_mnist_with_the_usual_transforms(mnist):
    recipe = recipes.get("mlp_128_adam")
    dataset = torch.utils.data.Subset(epoch.usual_set(None, recipe), range(640))
    pixels, label = dataset[0]
    assert pixels.shape == (1, 28, 28) and label == int(mnist.train.labels[0])
    assert 0 < epoch.usual_epoch(dataset, recipe) < 10


def test_what_is_kept_adds_up(kept):
    assert kept["rounds"] >= 5
    for name, threads in kept["fastest_threads"].items():
        assert kept["median"][name] == statistics.median(kept["seconds"][name][str(threads)])
        assert kept["median"][name] == min(statistics.median(times) for times in kept["seconds"][name].values())


def test_readme_quotes_it(kept):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{statistics.median(kept['ratios']):.1f} times as fast" in text


def test_a_machine_too_busy_to_conclude_from_is_said(kept):
    assert "busy" not in epoch.table(kept)
    kept = json.loads(json.dumps(kept))
    kept["seconds"]["ours"]["1"][0] *= 3
    assert "the machine was busy" in epoch.table(kept)
