"""Threads beside a busy process: an epoch in a process of its own, and what is said of it."""

import json
from pathlib import Path

import pytest

from benchmarks import contention, harness
from digit_recognizer.runtime.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("mnist")
def test_an_epoch_is_timed_in_a_process_of_its_own_and_the_neighbour_is_gone_afterwards(monkeypatch):
    started = []
    plain = contention.subprocess.Popen
    monkeypatch.setattr(
        contention.subprocess,
        "Popen",
        lambda *given, **options: started.append(plain(*given, **options)) or started[-1],
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert 0 < contention.epoch(1, {}, busy=True) < harness.GIVEN_UP
    assert len(started) == 2 and all(process.poll() is not None for process in started)


def test_an_epoch_that_fails_says_why(tmp_path):
    with pytest.raises(UserError, match=r"^an epoch failed: threads must be at least 1"):
        contention.epoch(0, {}, busy=False)


def test_what_was_given_up_is_said():
    seconds = {"one thread": {"quiet": [1.0, 1.2, 1.1], "busy": [2.0, None, 3.0]}}
    text = contention.table({"what": "seconds", "cores": 2, "seconds": seconds})
    assert "quiet 1.10 s (1.00 s to 1.20 s)   busy 3.00 s (2.00 s to over 90 s)" in text


def test_the_kept_result_shows_that_our_default_does_not_collapse():
    kept = json.loads((ROOT / "results/benchmark.json").read_text())["crowd"]
    assert set(kept["seconds"]) == set(contention.SETTINGS)
    one = kept["seconds"]["one thread"]
    assert all(len(of) >= 3 for state in kept["seconds"].values() for of in state.values())
    assert sorted(one["busy"])[len(one["busy"]) // 2] < 3 * sorted(one["quiet"])[len(one["quiet"]) // 2]
