"""The epoch benchmark: both loops train the same network, in turn; docs/speed.md quotes the committed result."""

import json
import statistics
from pathlib import Path

import pytest
import torch

from benchmarks import epoch
from digit_recognizer import recipes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def committed() -> dict:
    return json.loads((ROOT / "results/benchmark.json").read_text())


def test_loops_and_settings_are_timed_in_turn():
    order = []
    loops = {"a": lambda: order.append(("a", torch.get_num_threads())) or 1.0, "b": lambda: order.append("b") or 2.0}
    seconds = epoch.time_in_turn(loops, [1], 2)
    assert order == [("a", 1), "b"] * 3  # a warm-up round, then two
    assert seconds == {"a": {1: [1.0, 1.0]}, "b": {1: [2.0, 2.0]}}


def test_our_epoch_and_its_parts_take_time(optdigits):
    recipe = recipes.get("mlp_128_adam")
    assert epoch.our_epoch(optdigits.train, recipe) > 0
    parts = epoch.parts(optdigits.train, recipe)
    assert list(parts) == ["batch", "gradients", "step"]
    assert min(parts.values()) > 0


def test_the_dataloader_loop_trains_on_mnist_with_the_usual_transforms(mnist):
    recipe = recipes.get("mlp_128_adam")
    dataset = torch.utils.data.Subset(epoch.dataloader_dataset(None, recipe), range(640))
    pixels, label = dataset[0]
    assert pixels.shape == (1, 28, 28) and label == int(mnist.train.labels[0])
    assert epoch.dataloader_epoch(dataset, recipe) > 0


def test_the_committed_result_adds_up(committed):
    assert committed["rounds"] >= 5
    for name, threads in committed["fastest_threads"].items():
        assert committed["median"][name] == statistics.median(committed["seconds"][name][str(threads)])
        assert committed["median"][name] == min(map(statistics.median, committed["seconds"][name].values()))


def test_the_page_on_speed_quotes_it(committed):
    text = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    assert f"{statistics.median(committed['ratios']):.1f} times as fast" in text


def test_a_busy_machine_is_reported(committed):
    assert "busy" not in epoch.table(committed)
    noisy = json.loads(json.dumps(committed))
    noisy["seconds"]["ours"]["1"][0] *= 3
    assert "the machine was busy" in epoch.table(noisy)
