"""The trial of learning a hand: what it counts, and that its record is of the shipped network and of the constants."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from benchmarks.trials import adapting, drawn_hand
from digit_recognizer import checkpoints
from digit_recognizer.recognition import last_layer
from digit_recognizer.recognition.recognizer import SHIPPED

ROOT = Path(__file__).parents[2]
RECORD = json.loads((ROOT / "results/trials/adapting.json").read_text())


def test_a_drawn_hand_is_the_same_for_a_seed_and_another_for_the_next():
    first, second = ([image.tobytes() for _, image in drawn_hand.pictures(2, seed)] for seed in (0, 1))
    assert [label for label, _ in drawn_hand.pictures(2, 0)] == [0, 1, 7, 9] * 2
    assert first == [image.tobytes() for _, image in drawn_hand.pictures(2, 0)]
    assert len({*first, *second}) == 16


def test_every_row_counts_all_hands_and_restores_the_constants(optdigits, monkeypatch):
    monkeypatch.setattr(adapting, "CHANGES", {"OWN_WEIGHT": (0.01,)})
    monkeypatch.setattr(adapting, "PENALTIES", (0.1,))
    monkeypatch.setattr(last_layer, "STEPS", 5)
    monkeypatch.setattr(last_layer, "OUTLIERS", 50)
    monkeypatch.setattr(last_layer, "OTHERS", 100)
    few = dataclasses.replace(optdigits, test=optdigits.test.take(torch.arange(50)))
    trial = adapting.Trial(checkpoints.pretrained(SHIPPED), few, few, adapting.drawn(2, 1))
    hands = [adapting.Hand(trial.see(adapting.drawn(3, 2)), trial.see(adapting.drawn(2, 3)))]
    kept = last_layer.OWN_WEIGHT, last_layer.PENALTY
    rows = adapting.choose(trial, hands)
    names = ["not adapted", "as it is", f"OWN_WEIGHT = 0.01 instead of {kept[0]}", "without MNIST, PENALTY = 0.1"]
    assert list(rows) == names and kept == (last_layer.OWN_WEIGHT, last_layer.PENALTY)
    assert all(0 <= row["drawn"] <= 8 and row["held out"] == row["held out, least"] <= 50 for row in rows.values())


def test_the_record_is_of_the_shipped_network_and_of_the_constants():
    """A record of other weights or constants must be made again."""
    assert RECORD["network"] == checkpoints.pretrained(SHIPPED).record["weights"]
    changed = [name.split(" = ")[0] for name in RECORD["chosen on"] if " instead of " in name]
    assert set(changed) == set(adapting.CHANGES)
    for name in RECORD["chosen on"]:
        if " instead of " in name:
            assert float(name.split(" instead of ")[1]) == getattr(last_layer, name.split(" = ")[0])


def test_the_bars_are_kept():
    """Of five examples of each digit; what it costs on MNIST's test digits; and of halves of public digits."""
    n, reported = RECORD["n"], RECORD["reported"]
    before, after = reported["before"], reported["after"]
    assert after["drawn"] >= 0.99 * n["drawn"] > before["drawn"]
    assert before["held out"] - after["held out"] <= 0.0005 * n["hands"] * n["test digits"]
    halves = [reported[f"bitmaps, {name}"] for name in ("even to odd", "odd to even")]
    before, after, digits = (sum(half[key] for half in halves) for key in ("before", "after", "digits"))
    assert after >= 0.99 * digits > before


@pytest.mark.parametrize("name", ["before", "after", "after, without MNIST"])
def test_the_page_says_what_the_record_says(name):
    page = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    row = RECORD["reported"][name]
    assert f"| {row['drawn']} | {row['held out'] / RECORD['n']['hands']:,.2f} |" in page
