"""The trial of two threads: its two kinds of steps give the same weights, and it notices where they do not."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.trials import two_threads

ROOT = Path(__file__).parents[2]
RECORD = json.loads((ROOT / "results/trials/two_threads.json").read_text())


def test_both_kinds_of_steps_give_the_same_weights_and_other_weights_are_noticed(optdigits, small_recipe, monkeypatch):
    few = optdigits.train.take(torch.arange(200))
    microseconds = two_threads.time_steps(few, small_recipe, rounds=2)
    assert list(microseconds) == ["after all", "by layer"] and min(microseconds.values()) > 0
    monkeypatch.setattr(two_threads.Layers, "__getitem__", list.__getitem__)  # only the first layer moves
    with pytest.raises(ValueError, match="the weights differ"):
        two_threads.time_steps(few, small_recipe, rounds=2)


def test_products_are_timed_in_turn_and_side_by_side():
    microseconds = two_threads.time_products(times=3)
    assert list(microseconds) == ["in turn", "side by side"] and min(microseconds.values()) > 0
    assert torch.get_num_threads() == 1


def test_the_page_on_experiments_quotes_the_record():
    text = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    for pair in ("step, threads: 1", "step, threads: 2", "two gradients of 512-256"):
        before, after = RECORD[pair].values()
        assert f"| {before:.0f} | {after:.0f} | no" in text
