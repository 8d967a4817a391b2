"""How many threads a training takes: the number asked for, or by whether the cores are idle."""

import os

import joblib
import pytest

from digit_recognizer.runtime import threads
from digit_recognizer.runtime.threads import IDLE, choose_threads, computing_shares

BUSY = [1.0, 0.5]  # of two threads beside one busy process


@pytest.fixture
def machine(monkeypatch):
    """machine(cores, shares, **variables): what this machine has, how it is busy, and how it was started."""

    def be(cores: int, shares: list[float] | None = None, **variables: str) -> None:
        monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
        monkeypatch.setattr(threads, "computing_shares", lambda count: shares[:count])
        for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "LOCAL_WORLD_SIZE", "RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        threads.spin_briefly()

    return be


@pytest.mark.parametrize(
    ("cores", "shares", "line"),
    [
        (2, [1.0, 0.97], "2 threads: all 2 cores are idle"),
        (2, [0.97, IDLE], "2 threads: all 2 cores are idle"),
        (2, [1.0, IDLE - 0.01], "1 thread: the machine is busy (of 2 threads, one had to wait 16% of the time)"),
        (2, BUSY, "1 thread: the machine is busy (of 2 threads, one had to wait 50% of the time)"),
        (64, [1.0] * 64, "64 threads: all 64 cores are idle"),
        (64, [1.0] * 63 + [0.5], "1 thread: the machine is busy (of 64 threads, one had to wait 50% of the time)"),
        (1, None, "1 thread: there is no core for another"),
    ],
)
def test_auto_takes_every_core_of_an_idle_machine_and_one_of_a_busy_one(cores, shares, line, machine, capsys):
    machine(cores, shares)
    assert choose_threads("auto") == int(line.split()[0])
    assert capsys.readouterr().out == line + "\n"
    several = not line.startswith("1 ")
    assert os.environ.get("GOMP_SPINCOUNT") == (None if several else "1000")  # OpenMP's own default, or a short spin


def test_a_process_that_makes_pages_keeps_a_core(machine, capsys):
    machine(2)
    assert choose_threads("auto", processes=2) == 1
    machine(4, [1.0] * 4)
    assert choose_threads("auto", processes=2) == 3
    machine(4, [1.0, 1.0, 0.6, 0.6])
    assert choose_threads("auto", processes=2) == 1
    assert "there is no core" in capsys.readouterr().out


@pytest.mark.parametrize("asked", [1, 2, 7, 0])
def test_a_number_is_taken_without_a_trial_or_a_word(asked, machine, capsys):
    machine(2, None)
    assert choose_threads(asked) == asked  # choose_device checks its range
    assert (os.environ["GOMP_SPINCOUNT"], capsys.readouterr().out) == ("1000", "")


@pytest.mark.parametrize("own", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "passive"}])
def test_the_users_own_spinning_stays(own, machine):
    machine(2, [1.0, 1.0], **own)
    assert choose_threads("auto") == 2
    spinning = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    assert {name: os.environ[name] for name in spinning if name in os.environ} == own


def test_each_of_several_processes_takes_one_thread_and_the_main_one_says_so(machine, capsys):
    for rank, said in (("0", "1 thread: several processes share the cores\n"), ("1", "")):
        machine(8, [1.0] * 8, LOCAL_WORLD_SIZE="2", RANK=rank)
        assert choose_threads("auto") == 1
        assert capsys.readouterr().out == said


def test_more_threads_than_cores_have_to_wait():
    cores = os.cpu_count() or 1
    shares = computing_shares(3 * cores, seconds=0.1)
    assert len(shares) == 3 * cores and min(shares) > 0
    assert min(shares) < IDLE
