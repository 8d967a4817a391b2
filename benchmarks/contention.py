"""CPU contention: an epoch with several thread settings, on a quiet machine and beside a busy process.

`python -m benchmarks.contention THREADS COUNT` runs one epoch, in a process of its own: OpenMP reads its settings once.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import harness
from digit_recognizer.cli.parser import Parser, run_main
from digit_recognizer.runtime.errors import UserError

TIMEOUT = 90.0  # seconds after which an epoch is given up, which says enough
# Environment variables, and whether all cores compute or one.
SETTINGS: dict[str, tuple[dict[str, str], bool]] = {
    "one thread": ({}, False),
    "all cores, GOMP_SPINCOUNT=300000": ({"GOMP_SPINCOUNT": "300000"}, True),  # libgomp's default
    "all cores, GOMP_SPINCOUNT=1000": ({"GOMP_SPINCOUNT": "1000"}, True),  # this package's default
    "all cores, OMP_WAIT_POLICY=passive": ({"OMP_WAIT_POLICY": "passive"}, True),
}


def run(out: str | Path, data_dir: str | Path | None = None, rounds: int = 5) -> None:
    """Time an epoch of the default recipe with each setting in turn, alone and beside a busy process.

    Saved in out/benchmark.json under "contention". Raises UserError on a machine with one core.
    """
    cores = os.cpu_count() or 1
    if cores < 2:
        raise UserError("contention needs a machine with two or more cores")
    harness.check_writable(out)
    from digit_recognizer import models, recipes
    from digit_recognizer.data import sources
    from digit_recognizer.runtime import provenance

    seconds: dict[str, dict[str, list[float | None]]] = {name: {"quiet": [], "busy": []} for name in SETTINGS}
    for number in range(1, rounds + 1):
        for name, (variables, all_cores) in SETTINGS.items():
            for state, times in seconds[name].items():
                times.append(time_epoch(cores if all_cores else 1, variables, state == "busy", data_dir))
                print(f"round {number}: {name}, {state}: {_format(times[-1])}", flush=True)
    result: dict[str, Any] = {"what": "seconds for an epoch of the default recipe", "cores": cores, "seconds": seconds}
    result["md5"] = dict(sources.MNIST_MD5)  # each process loads these files
    result["made_with"] = provenance.collect(models.build(recipes.get()))
    harness.save_results(out, {"contention": result})
    print(table(result))


def time_epoch(
    threads: int, variables: dict[str, str], busy: bool, data_dir: str | Path | None = None, count: int = 60_000
) -> float | None:
    """Seconds of an epoch in a process with these variables of OpenMP only; None beyond TIMEOUT.

    busy: whether another process computes all the time. count: number of digits.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))} | variables
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        seconds = harness.run_in_process(
            "an epoch", "contention", threads, count, data_dir=data_dir, environment=clean, timeout=TIMEOUT + 60
        )
    except subprocess.TimeoutExpired:
        return None
    finally:
        if neighbour is not None:
            neighbour.kill()
            neighbour.wait()
    return seconds if seconds <= TIMEOUT else None


def table(result: dict[str, Any]) -> str:
    """A result as text."""
    lines = [f"{result['what']}, {result['cores']} cores, median (lowest to highest)"]
    for name, states in result["seconds"].items():
        cells = []
        for state, times in states.items():
            known = sorted(TIMEOUT if second is None else second for second in times)
            cells.append(f"{state} {_format(statistics.median(known))} ({_format(known[0])} to {_format(known[-1])})")
        lines.append(f"{name:36} {'   '.join(cells)}")
    return "\n".join(lines)


def _format(seconds: float | None) -> str:
    return f"over {TIMEOUT:.0f} s" if seconds is None or seconds >= TIMEOUT else f"{seconds:.2f} s"


def main() -> None:
    """Run one epoch with that many threads, on that many digits; print its seconds."""
    parser = Parser(prog="python -m benchmarks.contention", description=main.__doc__)
    parser.add_argument("threads", metavar="THREADS", type=int)
    parser.add_argument("count", metavar="COUNT", type=int)
    options = parser.parse_args()
    from benchmarks.epoch import our_epoch
    from digit_recognizer import data, recipes
    from digit_recognizer.runtime.device import choose_device

    choose_device("cpu", options.threads)
    train, recipe = data.load("mnist").train, recipes.get()
    our_epoch(data.Split(train.images[:2000], train.labels[:2000]), recipe)  # warm-up
    print(our_epoch(data.Split(train.images[: options.count], train.labels[: options.count]), recipe))


if __name__ == "__main__":
    run_main(main)
