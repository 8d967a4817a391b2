"""Where independent runs are computed: in this process, in others of this machine, or on a cluster."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from digit_recognizer.runtime.errors import UserError

BACKENDS = ("local", "dask", "ray")
PATIENCE = 15  # seconds that a scheduler has to answer

Engine = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterator[Any]]


@contextlib.contextmanager
def engine(backend: str = "local", scheduler: str | None = None, workers: int | None = None) -> Iterator[Engine]:
    """Within it, engine(function, jobs) yields function(*job) of each job, in the order in which they end.

    workers: processes, for local, by default one for each core; a cluster gives all that it has. scheduler: its
    address. Raises UserError for what check refuses, a backend that is not installed, a scheduler that does not answer
    or has no worker, and a worker of this machine that was killed; what a killed worker of a cluster was computing is
    given to another.
    """
    check(backend, scheduler, workers)
    try:
        cluster = _dask if backend == "dask" else _ray
        with _local(workers) if scheduler is None else cluster(scheduler) as found:
            yield found
    except TerminatedWorkerError as error:
        raise UserError("a worker was killed, perhaps for want of memory; run it again to go on") from error


def check(backend: str, scheduler: str | None, workers: int | None) -> None:
    """Raise UserError for a backend that is unknown, and for a setting that it needs or does not take."""
    if backend not in BACKENDS:
        raise UserError(f"unknown backend '{backend}'; there are {', '.join(BACKENDS)}")
    if (backend == "local") != (scheduler is None):
        raise UserError("--backend dask and --backend ray need --scheduler ADDRESS, and --backend local takes none")
    if backend != "local" and workers is not None:
        raise UserError("--workers goes with --backend local; a cluster has as many as were started there")


def _not_installed(name: str, extra: str, error: ImportError) -> UserError:
    return UserError(f"{name} is not installed ({error}): pip install -e .[{extra}]")


def _joblib(function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    return joblib.Parallel(return_as="generator_unordered")(joblib.delayed(function)(*job) for job in jobs)


@contextlib.contextmanager
def _local(workers: int | None) -> Iterator[Engine]:
    with joblib.parallel_config("loky", n_jobs=workers or joblib.cpu_count(), inner_max_num_threads=1):
        yield _joblib


@contextlib.contextmanager
def _dask(scheduler: str) -> Iterator[Engine]:
    try:
        from dask.distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise _not_installed("dask", "cluster", error) from error
    clients = []

    def connect() -> None:
        with contextlib.suppress(BaseException):  # whatever it is, there is no client then
            clients.append(Client(scheduler, timeout=PATIENCE))

    # In a thread of its own, since Dask waits without end for whoever takes the connection and says nothing.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PATIENCE + 1)
    if not clients:
        raise UserError(f"no Dask scheduler answered at {scheduler} within {PATIENCE} s")
    with clients[0] as client:
        if any(threads > 1 for threads in client.nthreads().values()):
            # Threads of one process would draw their first weights from one generator.
            raise UserError("a Dask worker has more than one thread; start them with: dask worker ADDRESS --nthreads 1")
        try:
            with joblib.parallel_config("dask", n_jobs=-1, wait_for_workers_timeout=PATIENCE):
                yield _joblib
        except TimeoutError as error:
            raise UserError(
                f"the Dask scheduler at {scheduler} has no workers; start them with: dask worker"
            ) from error
        except KilledWorker as error:
            raise UserError("a run killed one Dask worker after the other, perhaps for want of memory") from error


@contextlib.contextmanager
def _ray(scheduler: str) -> Iterator[Engine]:
    """Without joblib, whose Ray backend gives no result before all are there: a killed study would lose them."""
    try:
        import ray
    except ImportError as error:
        raise _not_installed("ray", "ray", error) from error

    def engine(function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        remote = ray.remote(num_cpus=1)(function)
        waiting = [remote.remote(*job) for job in jobs]
        while waiting:
            (done,), waiting = ray.wait(waiting)
            yield ray.get(done)

    try:
        ray.init(address=scheduler, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"no Ray cluster answered at {scheduler}: {str(error).splitlines()[0]}") from error
    try:
        yield engine
    finally:
        ray.shutdown()
