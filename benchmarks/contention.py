"""CPU contention: an epoch with several thread settings, on a quiet machine and beside a busy process.

`python -m benchmarks.contention THREADS COUNT` runs one epoch, in a process of its own: OpenMP reads its settings once.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import harness
from digit_recognizer.cli.parser import Parser, run_main
from digit_recognizer.cli.train import parse_threads
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.threads import choose_threads

AUTO = "--threads auto"
TIMEOUT = 90.0  # seconds after which an epoch is given up, which says enough
# Threads, None for one on each core, and the variables of OpenMP.
SETTINGS: dict[str, tuple[int | str | None, dict[str, str]]] = {
    "one thread": (1, {}),
    "all cores, GOMP_SPINCOUNT=300000": (None, {"GOMP_SPINCOUNT": "300000"}),  # OpenMP's default
    "all cores, GOMP_SPINCOUNT=1000": (None, {"GOMP_SPINCOUNT": "1000"}),  # this package's default
    AUTO: ("auto", {}),
}


def run(out: str | Path, data_dir: str | Path | None = None, rounds: int = 5, quick: bool = False) -> None:
    """Time an epoch of the default recipe with each setting in turn, alone and beside a busy process.

    Saved in out/benchmark.json under "contention"; quick, one epoch of 6,000 digits each, which is not saved. Raises
    UserError on a machine with one core.
    """
    cores = os.cpu_count() or 1
    if cores < 2:
        raise UserError("contention needs a machine with two or more cores")
    if not quick:
        harness.check_writable(out)
    from digit_recognizer import models, recipes
    from digit_recognizer.data import sources
    from digit_recognizer.runtime import provenance

    seconds: dict[str, dict[str, list[float | None]]] = {name: {"quiet": [], "busy": []} for name in SETTINGS}
    taken: dict[str, list[int | None]] = {"quiet": [], "busy": []}
    for number in range(1, 1 + (1 if quick else rounds)):
        for name, (threads, variables) in SETTINGS.items():
            for state, times in seconds[name].items():
                elapsed, count = time_epoch(
                    threads or cores, variables, state == "busy", data_dir, 6_000 if quick else 60_000
                )
                times.append(elapsed)
                if threads == "auto":
                    taken[state].append(count)
                print(f"round {number}: {name}, {state}: {_format(elapsed)}, threads: {count}", flush=True)
    what = f"seconds for an epoch of the default recipe, {cores} cores"
    result: dict[str, Any] = {"what": what, "seconds": seconds, "auto_threads": taken}
    result["md5"] = dict(sources.MNIST_MD5)  # each process loads these files
    result["made_with"] = provenance.collect(models.build(recipes.get()))
    if not quick:
        harness.save_results(out, {"contention": result})
    print(table(result))


def time_epoch(
    threads: int | str,
    variables: dict[str, str],
    busy: bool,
    data_dir: str | Path | None = None,
    count: int = 60_000,
) -> tuple[float | None, int | None]:
    """Time an epoch in a process with these variables of OpenMP only: (seconds, threads it took), None beyond TIMEOUT.

    threads: a number or "auto". busy: whether another process computes all the time. count: number of digits.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))} | variables
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        seconds, taken = harness.run_in_process(
            "an epoch", "contention", threads, count, data_dir=data_dir, environment=clean, timeout=TIMEOUT + 60
        )
    except subprocess.TimeoutExpired:
        return None, None
    finally:
        if neighbour is not None:
            neighbour.kill()
            neighbour.wait()
    return (seconds if seconds <= TIMEOUT else None), taken


def table(result: dict[str, Any]) -> str:
    """A result as docs/speed.md shows it: a table in Markdown, and how close the automatic choice comes to the best."""
    lines = ["| seconds of an epoch, median (lowest to highest) | quiet | beside a busy process |", "|---|---|---|"]
    for name, states in result["seconds"].items():
        cells = []
        for times in states.values():
            known = sorted(_known(times))
            cells.append(f"{_format(statistics.median(known))} ({_format(known[0])} to {_format(known[-1])})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if AUTO in result["seconds"]:
        quiet, busy = (auto_ratio(result, state) for state in ("quiet", "busy"))
        best = f"{quiet:.2f} times as long as the best of the others, beside a busy process {busy:.2f} times."
        lines += ["", f"With `--threads auto`, an epoch takes {best}"]
    return "\n".join(lines)


def auto_ratio(result: dict[str, Any], state: str) -> float:
    """The median time of the automatic choice over that of the fastest other setting. state: "quiet" or "busy"."""
    medians = {name: statistics.median(_known(states[state])) for name, states in result["seconds"].items()}
    return medians.pop(AUTO) / min(medians.values())


def _known(times: list[float | None]) -> list[float]:
    return [TIMEOUT if second is None else second for second in times]


def _format(seconds: float | None) -> str:
    return f"over {TIMEOUT:.0f}" if seconds is None or seconds >= TIMEOUT else f"{seconds:.2f}"


def main() -> None:
    """Run one epoch with that many threads, or auto, on that many digits; print its seconds and the threads."""
    parser = Parser(prog="python -m benchmarks.contention", description=main.__doc__)
    parser.add_argument("threads", metavar="THREADS", type=parse_threads)
    parser.add_argument("count", metavar="COUNT", type=int)
    options = parser.parse_args()
    threads = choose_threads(options.threads)
    from benchmarks.epoch import our_epoch
    from digit_recognizer import data, recipes
    from digit_recognizer.runtime.device import choose_device

    choose_device("cpu", threads)
    train, recipe = data.load("mnist").train, recipes.get()
    our_epoch(data.Split(train.images[:2000], train.labels[:2000]), recipe)  # warm-up
    seconds = our_epoch(data.Split(train.images[: options.count], train.labels[: options.count]), recipe)
    print(json.dumps([seconds, threads]))


if __name__ == "__main__":
    run_main(main)
