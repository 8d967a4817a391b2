"""What all benchmarks share: processes of their own, medians with ranges, and results/benchmark.json."""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from digit_recognizer.cli.parser import add_data_dir
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError

ROOT = Path(__file__).parents[1]
MAX_SPREAD = 1.5  # slowest over fastest of the same measurement; beyond it the machine was busy


def load_results(out: str | Path) -> dict[str, Any]:
    """The content of out/benchmark.json."""
    # Imported here, since it imports torch, before which a timed process must set its threads.
    from digit_recognizer.study.record_store import read_benchmarks

    return read_benchmarks(out)


def save_results(out: str | Path, part: dict[str, Any]) -> None:
    """Write these keys into out/benchmark.json; other keys stay."""
    results = load_results(out) | part
    files.write_atomically(Path(out) / "benchmark.json", (json.dumps(results, indent=1) + "\n").encode())


def check_writable(out: str | Path) -> None:
    """Raise UserError, before a long run, where save_results would raise it."""
    files.check_writable(out)
    load_results(out)


def parse_trial(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options of a trial, --out and --data-dir among them. Raises UserError where --out cannot be written to."""
    parser.add_argument("--out", metavar="DIR", default="results", help="folder of trials/ (default: results)")
    add_data_dir(parser)
    options = parser.parse_args()
    if not getattr(options, "quick", False):
        files.check_writable(options.out)
    return options


def shorten(recipe: Recipe) -> Recipe:
    """One epoch of a recipe, with its augmentation: to try it, or to warm up."""
    return dataclasses.replace(recipe, epochs=1, epochs_without_augmentation=0)


def run_in_process(
    name: str,
    module: str,
    *arguments: object,
    data_dir: str | Path | None = None,
    environment: dict[str, str] | None = None,
    timeout: float | None = None,
) -> Any:
    """The last line that `python -m benchmarks.<module> <arguments>` prints, parsed as JSON.

    name: for error messages. environment: instead of this process's. Raises UserError with the last line of its error
    output where it fails, and subprocess.TimeoutExpired after timeout seconds.
    """
    variables = dict(os.environ if environment is None else environment)
    variables |= {"DIGITS_DATA_DIR": str(Path(data_dir).resolve())} if data_dir else {}
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    ran = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=timeout)
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or [f"it ended with status {ran.returncode}"])[-1]
        raise UserError(f"{name} failed: {last.removeprefix('error: ')}")
    return json.loads(ran.stdout.strip().splitlines()[-1])


def peak_mb() -> float:
    """Peak memory of this process, in megabytes. Raises UserError where the system does not report it."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError as error:
        raise UserError("the memory of a process can be measured on Linux only") from error
    return int(status.split("VmHWM:")[1].split()[0]) / 1000  # getrusage would include the parent's peak


def format_spread(values: Sequence[float]) -> str:
    """Median (lowest to highest)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def format_threads(count: int) -> str:
    """1 thread, 2 threads."""
    return f"{count} thread{'s' * (count > 1)}"


def is_noisy(seconds: Sequence[float]) -> bool:
    """Whether times of the same measurement spread too much to conclude anything."""
    return max(seconds) > MAX_SPREAD * min(seconds)


def noise_warning(names: Iterable[str]) -> list[str]:
    """A line that names the noisy measurements; [] without any."""
    named = "; ".join(names)
    return [f"times spread too much, the machine was busy; run again: {named}"] if named else []
