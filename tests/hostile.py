"""Corrupt bytes, and workers that read them: what came of it, in how much time and memory."""

import collections
import concurrent.futures
import resource
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import stress

SECONDS, MEGABYTES = 5.0, 1000.0  # that one file may take, at most, in a long run
TIMEOUT = 60  # seconds, after which the system ends the worker
ADDRESS_SPACE = 4_000_000_000  # bytes, beyond those of a worker that is ready
CHUNK = 20  # files that a worker takes at a time
_times: list[float] = []  # of the calls in this attempt, in seconds


def mutated(content: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    """The bytes with one mistake: bits flipped, cut off, cut out, inserted, blocks swapped, or joined with another."""
    way = generator.integers(6)
    first, second = sorted(int(place) for place in generator.integers(0, len(content) + 1, 2))
    if way == 0:
        return flipped(content, generator)
    if way == 1:
        return content[:first]
    if way == 2:
        return content[:first] + content[second:]
    if way == 3:
        return content[:first] + generator.bytes(int(generator.integers(1, 200))) + content[first:]
    if way == 4:
        length = int(generator.integers(1, 5000))
        blocks = content[first : first + length], content[second : second + length]
        return content[:first] + blocks[1] + content[first + length : second] + blocks[0] + content[second + length :]
    return content[:first] + other[int(generator.integers(0, len(other))) :]


def flipped(content: bytes, generator: np.random.Generator) -> bytes:
    """The bytes with up to eight bits flipped."""
    changed = bytearray(content)
    for place in generator.integers(0, len(content), generator.integers(1, 9)) if content else ():
        changed[place] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def take_in(
    prepare: Callable[[Path], None], attempt: Callable[[int], str], folder: Path, numbers: Sequence[int], workers: int
) -> dict[str, Any]:
    """Let workers call prepare(folder) once and then attempt(number) for each number.

    attempt: returns the outcome as a word. Returns the count of each outcome, the longest time of one attempt in
    seconds, and the most by which a worker's memory grew, in megabytes. Raises AssertionError where an attempt raises,
    where a worker dies or does not end and, in a long run, where an attempt takes more than SECONDS or MEGABYTES.
    """
    outcomes, slowest, largest, count = collections.Counter(), (0.0, -1), (0.0, -1), 0
    with concurrent.futures.ProcessPoolExecutor(workers, stress.forkserver(), _begin, (prepare, folder)) as pool:
        starts = range(0, len(numbers), CHUNK)
        chunks = [pool.submit(_watched, attempt, numbers[start : start + CHUNK]) for start in starts]
        for chunk in concurrent.futures.as_completed(chunks):
            for number, outcome, seconds, megabytes in chunk.result():
                outcomes[outcome] += 1
                count += 1
                slowest, largest = max(slowest, (seconds, number)), max(largest, (megabytes, number))
    print(f"\nslowest: {slowest}, largest: {largest}")
    assert count == len(numbers)
    assert not stress.LONG or (slowest[0] < SECONDS and largest[0] < MEGABYTES)
    return {
        "count": count,
        "outcomes": dict(sorted(outcomes.items())),
        "slowest_seconds": round(slowest[0], 3),
        "most_megabytes": round(largest[0], 1),
    }


def timed(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it within an attempt that makes several such calls: the limit of seconds is for each of them."""
    began = time.perf_counter()
    try:
        return function(*arguments)
    finally:
        _times.append(time.perf_counter() - began)


def _begin(prepare: Callable[[Path], None], folder: Path) -> None:
    global _ready
    prepare(folder)
    _ready = _kilobytes("VmRSS")
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESS_SPACE,) * 2)


def _watched(attempt: Callable[[int], str], numbers: Iterable[int]) -> list[tuple[int, str, float, float]]:
    found = []
    for number in numbers:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak of memory
        began = time.perf_counter()
        signal.alarm(TIMEOUT)
        try:
            outcome = attempt(number)
        except BaseException as error:
            raise AssertionError(f"number {number}: {type(error).__name__}: {error}") from error
        signal.alarm(0)
        seconds = max(_times, default=time.perf_counter() - began)
        _times.clear()
        found.append((number, outcome, seconds, (_kilobytes("VmHWM") - _ready) / 1000))
    return found


def _kilobytes(field: str) -> int:
    """A field of this process's memory in /proc/self/status."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])
