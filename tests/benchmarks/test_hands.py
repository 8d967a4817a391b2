"""Public hands: wrong and refused digits are counted apart, and the committed record is of the shipped network."""

import json
from pathlib import Path

import numpy as np

from benchmarks.trials import hands

RECORD = Path(__file__).parents[2] / "results/trials/hands.json"


def test_wrong_and_refused_digits_are_counted_apart(network):
    bar = np.full((60, 60), 255, np.uint8)
    bar[10:50, 26:33] = 0
    assert hands.count(network, [(bar, 1), (bar, 7), (np.full((60, 60), 255, np.uint8), 3)]) == {
        "digits": 3, "wrong": 1, "refused": 1,
    }  # fmt: skip


def test_the_committed_record_is_of_the_shipped_network(network):
    record = json.loads(RECORD.read_text())
    assert record["network"] == network.model.about["weights"]
    assert record["hwd-1000"] == {"digits": 1000, "wrong": 0, "refused": 0}
    assert record["optdigits-original"]["digits"] == 1797
