"""Where independent jobs are computed: in this process, in processes of this machine, or on a Dask cluster."""

import concurrent.futures
import contextlib
import logging
import multiprocessing.resource_tracker
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import joblib
import joblib.externals.loky.backend.resource_tracker
from joblib.externals.loky.process_executor import TerminatedWorkerError

from digit_recognizer.runtime.errors import UserError

BACKENDS = ("local", "dask")
TIMEOUT = 15  # seconds for a scheduler to answer

Executor = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterator[Any]]


@contextlib.contextmanager
def open_executor(
    backend: str = "local", scheduler: str | None = None, workers: int | None = None
) -> Iterator[Executor]:
    """Within it, executor(function, jobs) yields function(*job) of each job, in the order of completion.

    workers: local processes, by default one per core; a cluster uses all its workers. scheduler: address of the
    cluster. A job of a cluster's killed worker is given to another worker. Raises UserError for invalid arguments, a
    missing package, a scheduler that does not answer, has no workers or goes away, and a killed local worker.
    """
    validate(backend, scheduler, workers)
    try:
        with _local(workers) if scheduler is None else _dask(scheduler):
            yield _run_joblib
    except TerminatedWorkerError as error:
        raise UserError("a worker was killed, perhaps out of memory; run the command again to continue") from error


def validate(backend: str, scheduler: str | None, workers: int | None) -> None:
    """Raise UserError for an unknown backend, and for arguments that do not go together."""
    if backend not in BACKENDS:
        raise UserError(f"unknown backend '{backend}'; choose {' or '.join(BACKENDS)}")
    if (backend == "local") != (scheduler is None):
        raise UserError("--backend dask needs --scheduler ADDRESS, and --backend local takes none")
    if backend != "local" and workers is not None:
        raise UserError("--workers goes with --backend local; a cluster uses all its workers")


def _run_joblib(function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    jobs, count = list(jobs), 0
    with contextlib.ExitStack() as stack:
        with _signals_of_this_process():
            results = joblib.Parallel(return_as="generator_unordered")(joblib.delayed(function)(*job) for job in jobs)
            stack.callback(_stop, results)
        for result in results:
            yield result
            count += 1
    if count < len(jobs):  # a cluster that has gone may end the results without an error
        raise concurrent.futures.CancelledError


def _stop(results: Generator[Any, None, None]) -> None:
    """End the jobs whose results nobody takes any more."""
    before = threading.excepthook

    def ignore_dropped_job(failure: threading.ExceptHookArgs) -> None:
        # loky's thread fails where it comes to hand out a job that it has just dropped; it would end now anyway.
        if failure.exc_type is not KeyError or getattr(failure.thread, "name", "") != "ExecutorManagerThread":
            before(failure)

    threading.excepthook = ignore_dropped_job
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # says that there are such jobs
            results.close()
    finally:
        threading.excepthook = before


@contextlib.contextmanager
def _signals_of_this_process() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM from the workers that are started within it.

    Both are also sent to the workers of a terminal's or a cluster's job. They would print a traceback each, or be taken
    for killed ones. This process ends them. Windows has no such mask.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # These two unblock both signals as they start, so they go first.
    multiprocessing.resource_tracker.ensure_running()
    joblib.externals.loky.backend.resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _local(workers: int | None) -> contextlib.AbstractContextManager[Any]:
    return joblib.parallel_config("loky", n_jobs=workers or joblib.cpu_count(), inner_max_num_threads=1)


@contextlib.contextmanager
def _dask(scheduler: str) -> Iterator[None]:
    try:
        from dask.distributed import Client
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise UserError(f"dask is not installed ({error}): pip install 'dask[distributed]'") from error
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is an error here, in one line
    clients = []

    def connect() -> None:
        with contextlib.suppress(BaseException):  # any failure leaves no client
            clients.append(Client(scheduler, timeout=TIMEOUT))

    # In its own thread: Dask waits forever for a server that accepts the connection and sends nothing.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(TIMEOUT + 1)
    if not clients:
        raise UserError(f"no Dask scheduler answered at {scheduler} within {TIMEOUT} s")
    with clients[0] as client:
        if any(threads > 1 for threads in client.nthreads().values()):
            # Threads of one process share the global generator that initial weights come from.
            raise UserError("a Dask worker has more than one thread; start them with: dask worker ADDRESS --nthreads 1")
        try:
            with joblib.parallel_config("dask", n_jobs=-1, wait_for_workers_timeout=TIMEOUT):
                yield
        except TimeoutError as error:
            raise UserError(
                f"the Dask scheduler at {scheduler} has no workers; start them with: dask worker ADDRESS --nthreads 1"
            ) from error
        except (concurrent.futures.CancelledError, CommClosedError) as error:
            raise UserError(f"the Dask scheduler at {scheduler} has gone; run the command again to continue") from error
        except KilledWorker as error:
            raise UserError("a job killed one Dask worker after the other, perhaps out of memory") from error
