"""The contention benchmark: an epoch in a process of its own, beside a busy process, and its table."""

import json
from pathlib import Path

import pytest

from benchmarks import contention

ROOT = Path(__file__).parents[2]


@pytest.mark.usefixtures("mnist")
def test_an_epoch_runs_in_a_process_of_its_own_and_the_busy_process_ends(monkeypatch):
    started = []
    popen = contention.subprocess.Popen
    monkeypatch.setattr(
        contention.subprocess,
        "Popen",
        lambda *arguments, **options: started.append(popen(*arguments, **options)) or started[-1],
    )
    monkeypatch.setattr(contention, "TIMEOUT", 600)
    assert contention.time_epoch(1, {}, busy=True, count=640) > 0
    assert len(started) == 2 and all(process.poll() is not None for process in started)


def test_an_epoch_that_takes_too_long_is_shown():
    seconds = {"one thread": {"quiet": [1.0, 1.2, 1.1], "busy": [2.0, None, 3.0]}}
    text = contention.table({"what": "seconds", "cores": 2, "seconds": seconds})
    assert "quiet 1.10 s (1.00 s to 1.20 s)   busy 3.00 s (2.00 s to over 90 s)" in text


def test_in_the_committed_result_our_default_does_not_collapse():
    committed = json.loads((ROOT / "results/benchmark.json").read_text())["contention"]
    assert set(committed["seconds"]) == set(contention.SETTINGS)
    one = committed["seconds"]["one thread"]
    assert all(len(times) >= 3 for states in committed["seconds"].values() for times in states.values())
    assert sorted(one["busy"])[len(one["busy"]) // 2] < 3 * sorted(one["quiet"])[len(one["quiet"]) // 2]
