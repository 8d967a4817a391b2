"""What threads cost beside another job: an epoch with each setting, on a quiet machine and beside a busy process.

`python -m benchmarks.contention THREADS` is such an epoch, in a process of its own: OpenMP reads its settings once.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.harness import GIVEN_UP
from digit_recognizer.cli.parser import Parser, run_main
from digit_recognizer.runtime.errors import UserError

# What is set before torch is imported, and whether all cores compute or one.
SETTINGS: dict[str, tuple[dict[str, str], bool]] = {
    "one thread": ({}, False),
    "all cores, libgomp's own spinning": ({"GOMP_SPINCOUNT": "300000"}, True),
    "all cores, GOMP_SPINCOUNT=1000": ({"GOMP_SPINCOUNT": "1000"}, True),
    "all cores, OMP_WAIT_POLICY=passive": ({"OMP_WAIT_POLICY": "passive"}, True),
}


def run(out: str | Path, data_dir: str | Path | None = None, rounds: int = 5) -> None:
    """Time an epoch of the default recipe with each setting in turn, alone and beside a busy process.

    Written into out/benchmark.json under "crowd". Raises UserError where there is one core only.
    """
    cores = os.cpu_count() or 1
    if cores < 2:
        raise UserError("with a single core there is nothing to share; take a machine with two or more")
    harness.check_can_keep(out)
    from digit_recognizer import models, recipes
    from digit_recognizer.data import sources
    from digit_recognizer.runtime import provenance

    seconds: dict[str, dict[str, list[float | None]]] = {name: {"quiet": [], "busy": []} for name in SETTINGS}
    for number in range(1, rounds + 1):
        for name, (variables, all_cores) in SETTINGS.items():
            for state, of in seconds[name].items():
                of.append(epoch(cores if all_cores else 1, variables, state == "busy", data_dir))
                print(f"round {number}: {name}, {state}: {_shown(of[-1])}", flush=True)
    result: dict[str, Any] = {"what": "seconds for an epoch of the default recipe", "cores": cores, "seconds": seconds}
    result["md5"] = dict(sources.MNIST_MD5)  # each process loads no other files
    result["made_with"] = provenance.collect(models.build(recipes.get()))
    harness.keep(out, {"crowd": result})
    print(table(result))


def epoch(threads: int, variables: dict[str, str], busy: bool, data_dir: str | Path | None = None) -> float | None:
    """Seconds of an epoch in a process of its own, with these variables and no others of OpenMP; None beyond GIVEN_UP.

    busy: whether another process computes for all that time.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))} | variables
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        seconds = harness.in_a_process(
            "an epoch", "contention", threads, data_dir=data_dir, environment=clean, timeout=GIVEN_UP + 60
        )
    except subprocess.TimeoutExpired:
        return None
    finally:
        if neighbour is not None:
            neighbour.kill()
            neighbour.wait()
    return seconds if seconds <= GIVEN_UP else None


def table(result: dict[str, Any]) -> str:
    """A result as text."""
    lines = [f"{result['what']}, {result['cores']} cores, median (lowest to highest)"]
    for name, of in result["seconds"].items():
        cells = []
        for state, times in of.items():
            known = sorted(GIVEN_UP if second is None else second for second in times)
            cells.append(f"{state} {_shown(statistics.median(known))} ({_shown(known[0])} to {_shown(known[-1])})")
        lines.append(f"{name:36} {'   '.join(cells)}")
    return "\n".join(lines)


def _shown(seconds: float | None) -> str:
    return f"over {GIVEN_UP:.0f} s" if seconds is None or seconds >= GIVEN_UP else f"{seconds:.2f} s"


def main() -> None:
    """One epoch with that many threads, in this process; prints its seconds."""
    parser = Parser(prog="python -m benchmarks.contention", description=main.__doc__)
    parser.add_argument("threads", metavar="THREADS", type=int)
    threads = parser.parse_args().threads
    from benchmarks import epoch as benchmarks_epoch
    from digit_recognizer import data, recipes
    from digit_recognizer.runtime.device import choose_device

    choose_device("cpu", threads)
    digits, recipe = data.load("mnist"), recipes.get()
    benchmarks_epoch.our_epoch(data.Split(digits.train.images[:2000], digits.train.labels[:2000]), recipe)  # warm
    print(benchmarks_epoch.our_epoch(digits.train, recipe))


if __name__ == "__main__":
    run_main(main)
