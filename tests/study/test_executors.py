"""The same runs wherever they are computed: in this process, in others, on a Dask cluster that loses a worker."""

import contextlib
import dataclasses
import os
import signal
import socket
import sys
import threading
import time

import pytest

from digit_recognizer import recipes
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import executors, record_store, sweep

WITHOUT_DASK = "optional: pip install -e .[cluster]"
posix_only = pytest.mark.skipif(os.name != "posix", reason="kills a process by a signal")


@pytest.mark.parametrize(
    ("backend", "scheduler", "workers", "message"),
    [
        ("slurm", None, None, "unknown backend 'slurm'; choose local or dask"),
        ("dask", None, None, "--backend dask needs --scheduler ADDRESS"),
        ("local", "tcp://127.0.0.1:1", None, "--backend local takes none"),
        ("dask", "tcp://127.0.0.1:1", 2, "--workers goes with --backend local"),
    ],
)
def test_invalid_arguments_are_refused(backend, scheduler, workers, message):
    with pytest.raises(UserError, match=message) as caught, executors.open_executor(backend, scheduler, workers):
        pass
    assert "\n" not in str(caught.value)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    message = r"dask is not installed .*: pip install 'dask.distributed.'"
    with pytest.raises(UserError, match=message), executors.open_executor("dask", "tcp://127.0.0.1:1"):
        pass


@posix_only
def test_a_killed_local_worker_is_reported():
    with pytest.raises(UserError, match="a worker was killed"), executors.open_executor(workers=2) as executor:
        list(executor(_die, [(number,) for number in range(2)]))


def _die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_silent_scheduler_is_given_up(monkeypatch):
    pytest.importorskip("distributed", reason=WITHOUT_DASK)
    monkeypatch.setattr(executors, "TIMEOUT", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        message = f"no Dask scheduler answered at {address} within 1 s"
        with pytest.raises(UserError, match=message), executors.open_executor("dask", address):
            pass


@posix_only
def test_ctrl_c_and_sigterm_do_not_reach_local_workers():
    blocked = {signal.SIGINT, signal.SIGTERM}
    with executors.open_executor(workers=2) as executor:
        for mask in executor(signal.pthread_sigmask, [(signal.SIG_BLOCK, ())] * 2):
            assert blocked <= mask
    assert not blocked & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_caller_may_leave_results_without_a_warning():
    with executors.open_executor(workers=2) as executor, contextlib.closing(executor(abs, [(-1,)] * 50)) as results:
        assert next(results) == 1


@pytest.mark.parametrize(("name", "said"), [("ExecutorManagerThread", []), ("another", [KeyError])])
def test_a_job_that_was_dropped_before_it_was_handed_out_is_no_error(name, said, monkeypatch):
    def lose() -> None:
        raise KeyError(1)

    def results():  # as joblib's, which waits for loky's thread when it is closed
        try:
            yield 1
        finally:
            thread = threading.Thread(target=lose, name=name)
            thread.start()
            thread.join()

    failures = []
    monkeypatch.setattr(threading, "excepthook", lambda failure: failures.append(failure.exc_type))
    hook, abandoned = threading.excepthook, results()
    next(abandoned)
    executors._stop(abandoned)
    assert failures == said and threading.excepthook is hook


@posix_only
def test_dask_gives_the_records_of_a_serial_study_even_when_a_worker_is_killed(cluster, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(executors, "TIMEOUT", 120)  # a busy machine starts the cluster slowly
    small = dataclasses.replace(recipes.get("mlp_128_adam"), dataset="optdigits", epochs=2)
    address, _, workers = cluster
    sweep.run([small], 8, tmp_path / "serial", workers=1)
    first = capsys.readouterr().out
    done = tmp_path / "dask" / small.name

    def kill_one() -> None:
        while len(list(done.glob("*.json"))) < 2:
            time.sleep(0.05)
        workers[0].kill()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    sweep.run([small], 8, tmp_path / "dask", backend="dask", scheduler=address)
    killer.join()
    assert workers[0].wait(timeout=30) == -signal.SIGKILL  # it was killed in mid-study
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(first.splitlines())
    serial, parallel = (record_store.read_all(tmp_path / name, small) for name in ("serial", "dask"))
    assert [record["weights"] for record in parallel] == [record["weights"] for record in serial]
    assert {record["made_with"]["threads"] for record in parallel} == {1}


def test_a_scheduler_that_goes_away_is_one_line(cluster, monkeypatch, capfd):
    monkeypatch.setattr(executors, "TIMEOUT", 120)
    address, scheduler, _ = cluster
    message = f"the Dask scheduler at {address} has gone; run the command again to continue"
    with pytest.raises(UserError, match=message), executors.open_executor("dask", address) as executor:
        for _ in executor(time.sleep, [(0.1,)] * 1000):
            scheduler.kill()
    assert capfd.readouterr().err == ""
