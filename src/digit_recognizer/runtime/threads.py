"""How many threads a training takes, and how long they spin. Decided before torch is imported: then OpenMP reads it."""

import os
import threading
import time
import zlib
from typing import Literal

TRIAL = 0.2  # seconds
IDLE = 0.85  # part of a trial that every thread must compute: a busy process leaves half of it to one of them
_SHORT = "1000"  # for GOMP_SPINCOUNT


def spin_briefly() -> None:
    """Bound how long OpenMP's threads spin while they wait; its default slows a run beside a busy process many times.

    Whoever set one of the two variables knows better.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SHORT)


def choose_threads(threads: int | Literal["auto"], processes: int = 1) -> int:
    """Return the number of threads; for "auto", decide it and print a line that says why.

    "auto" is a thread for every core if all cores are idle, and one if the machine is busy. With several threads on an
    idle machine, they spin as long as OpenMP's default has it. processes: of this training, of which each needs a core;
    those that torchrun started take one thread each.
    """
    if threads != "auto":
        return threads
    count, reason = _decide(processes)
    if count > 1 and os.environ.get("GOMP_SPINCOUNT") == _SHORT:
        del os.environ["GOMP_SPINCOUNT"]
    if os.environ.get("RANK", "0") == "0":  # of torchrun
        print(f"{count} {'threads' if count > 1 else 'thread'}: {reason}", flush=True)
    return count


def _decide(processes: int) -> tuple[int, str]:
    """The number of threads, and why."""
    if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:  # of torchrun
        return 1, "several processes share the cores"
    import joblib

    cores = joblib.cpu_count()  # that this process may use: affinity and the limits of a container count
    if cores <= processes:
        return 1, "there is no core for another"
    if (share := min(computing_shares(cores))) < IDLE:
        return 1, f"the machine is busy (of {cores} threads, one had to wait {1 - share:.0%} of the time)"
    return cores - processes + 1, f"all {cores} cores are idle"


def computing_shares(count: int, seconds: float = TRIAL) -> list[float]:
    """Compute in that many threads at once. Returns the part of the time, 0 to 1, that each of them had a core.

    A load average lags by a minute. This needs no file of the system, and another training that starts now is seen.
    """
    block = bytes(2**22)
    shares = []

    def compute() -> None:
        wall, cpu = time.perf_counter(), time.thread_time()
        while time.perf_counter() - wall < seconds:
            zlib.crc32(block)  # a millisecond without the interpreter's lock
        shares.append((time.thread_time() - cpu) / (time.perf_counter() - wall))

    threads = [threading.Thread(target=compute) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return shares
