"""What every benchmark shares: runs in processes of their own, medians with their range, and the file of results."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError

GIVEN_UP = 90.0  # seconds after which an epoch beside a busy process is given up: it says enough
ROOT = Path(__file__).parents[1]
SPREAD = 1.5  # slowest over fastest of the same, beyond which the machine was too busy to conclude from


def kept(out: str | Path) -> dict[str, Any]:
    """What stands in out/benchmark.json. Imported here: it brings torch, and a timed process sets threads first."""
    from digit_recognizer.study.record_store import read_benchmarks

    return read_benchmarks(out)


def keep(out: str | Path, part: dict[str, Any]) -> None:
    """Write these keys into out/benchmark.json; its others stay as they are."""
    files.write_atomically(Path(out) / "benchmark.json", (json.dumps(kept(out) | part, indent=1) + "\n").encode())


def check_can_keep(out: str | Path) -> None:
    """Raise UserError, before a long run, for what keep would raise it at the end."""
    files.check_writable(out)
    kept(out)


def in_a_process(
    name: str,
    module: str,
    *arguments: object,
    data_dir: str | Path | None = None,
    environment: dict[str, str] | None = None,
    timeout: float | None = None,
) -> Any:
    """What `python -m benchmarks.<module> <arguments>` prints last, as JSON; name is what an error calls it.

    environment: instead of this process's. Raises UserError with the last thing it said where it fails, and
    subprocess.TimeoutExpired after timeout seconds.
    """
    variables = dict(os.environ if environment is None else environment)
    variables |= {"DIGITS_DATA_DIR": str(Path(data_dir).resolve())} if data_dir else {}
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    ran = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=timeout)
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or [f"it ended with status {ran.returncode}"])[-1]
        raise UserError(f"{name} failed: {last.removeprefix('error: ')}")
    return json.loads(ran.stdout.strip().splitlines()[-1])


def spread(values: Sequence[float]) -> str:
    """Median (lowest to highest)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def threads(count: int) -> str:
    """1 thread, 2 threads."""
    return f"{count} thread{'s' * (count > 1)}"


def differ(seconds: Sequence[float]) -> bool:
    """Whether times of the same thing differ so much that the machine must have been busy."""
    return max(seconds) > SPREAD * min(seconds)


def too_busy(names: Iterable[str]) -> list[str]:
    """The line that says whose times differ too much; none where there is nothing to name."""
    named = "; ".join(names)
    return [f"times differ too much to conclude from: the machine was busy, run it again: {named}"] if named else []
