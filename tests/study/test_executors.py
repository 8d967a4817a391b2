"""The same runs wherever they are computed: here, in other processes, on a Dask cluster that loses a worker."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from digit_recognizer import recipes
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import executors, record_store, sweep


@pytest.fixture
def small() -> recipes.Recipe:
    """A recipe on the embedded set, short."""
    return dataclasses.replace(recipes.get("mlp_128_adam"), dataset="optdigits", epochs=2)


@pytest.mark.parametrize("workers", [1, 2, None])
def test_every_job_is_done_once(workers):
    with executors.engine(workers=workers) as engine:
        assert sorted(engine(divmod, [(number, 3) for number in range(7)])) == [divmod(n, 3) for n in range(7)]


@pytest.mark.parametrize(
    ("backend", "scheduler", "words"),
    [
        ("slurm", None, "unknown backend 'slurm'; there are local, dask, ray"),
        ("dask", None, "need --scheduler ADDRESS"),
        ("local", "tcp://127.0.0.1:1", "--backend local takes none"),
    ],
)
def test_what_cannot_be_is_refused(backend, scheduler, words):
    with pytest.raises(UserError, match=words) as caught, executors.engine(backend, scheduler):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a signal")
def test_a_killed_worker_of_this_machine_is_said():
    with pytest.raises(UserError, match="a worker was killed"), executors.engine(workers=2) as engine:
        list(engine(_die, [(number,) for number in range(2)]))


def _die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_scheduler_that_does_not_answer_is_given_up(monkeypatch):
    pytest.importorskip("distributed", reason="optional: pip install -e .[cluster]")
    monkeypatch.setattr(executors, "PATIENCE", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        words = f"no Dask scheduler answered at {address} within 1 s"
        with pytest.raises(UserError, match=words), executors.engine("dask", address):
            pass
    assert time.monotonic() - began < 20


@pytest.fixture
def cluster(tmp_path):
    """A Dask scheduler and two workers, processes of their own: (address, workers)."""
    pytest.importorskip("distributed", reason="optional: pip install -e .[cluster]")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port)]
    processes = [subprocess.Popen([*start, "--no-dashboard"], **quiet)]
    one = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    processes += [subprocess.Popen([*one, "--no-dashboard"], **quiet) for _ in range(2)]
    yield address, processes[1:]
    for process in processes:
        process.kill()
        process.wait(timeout=30)


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a signal")
def test_dask_gives_the_records_of_a_serial_study_even_when_a_worker_is_killed(cluster, small, tmp_path, capsys):
    address, workers = cluster
    sweep.run([small], 8, tmp_path / "serial", workers=1)
    first = capsys.readouterr().out
    done = tmp_path / "dask" / small.name

    def kill_one() -> None:
        for _ in range(600):
            if len(list(done.glob("*.json"))) >= 2:
                workers[0].kill()
                return
            time.sleep(0.05)

    killer = threading.Thread(target=kill_one)
    killer.start()
    sweep.run([small], 8, tmp_path / "dask", backend="dask", scheduler=address)
    killer.join()
    assert workers[0].poll() is not None  # it was killed in mid-study
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(first.splitlines())
    serial, parallel = (record_store.read_all(tmp_path / name, small) for name in ("serial", "dask"))
    assert [record["weights"] for record in parallel] == [record["weights"] for record in serial]
    assert {record["made_with"]["threads"] for record in parallel} == {1}


def test_a_backend_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    words = r"ray is not installed .*: pip install -e \.\[ray\]"
    with pytest.raises(UserError, match=words), executors.engine("ray", "auto"):
        pass
