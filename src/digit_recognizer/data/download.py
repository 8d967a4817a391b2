"""Downloads with pooch: checked by MD5, unpacked, and moved into place only when every file is whole.

One process downloads; others that want the same files wait for it and then find them.
"""

import contextlib
import os
import queue
import shutil
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import filelock

from digit_recognizer.runtime.errors import UserError

# A download is given up within 15 seconds: 5 until a first answer, then 3 of silence from each of the two mirrors.
# A slow connection that keeps sending is never given up.
ANSWER_SECONDS = 5
SILENCE_SECONDS = 3
STAGING = ".download"  # the folder for unfinished files; its lock is named after it


class Archives(NamedTuple):
    """Gzip files of a data set. mirrors: addresses in front of a file's name; md5: of each file, by its name."""

    mirrors: list[str]
    md5: dict[str, str]


class UnreachableError(UserError):
    """The data set is neither on disk nor can it be downloaded. files: the names of the missing files."""

    def __init__(self, message: str, files: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.files = files


def fetch(archives: Archives, folder: Path, find_problems: Callable[[], Mapping[str, Path]]) -> None:
    """Download the files that are missing or damaged. Damaged files are renamed to <name>.damaged.

    find_problems: returns the names of these files, and the path of each. Called when no other process downloads.
    Raises UnreachableError, and then leaves the existing files as they were.
    """
    import pooch  # here, since only downloads need it

    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        raise UnreachableError(f"{existing} cannot be written to; choose another folder with --data-dir")
    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(timeout=SILENCE_SECONDS, progressbar=True)
    mirrors = _answering_mirrors(archives, downloader)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _staging(folder) as staging:
            problems = find_problems()
            _retrieve([(name, archives.md5[f"{name}.gz"]) for name in problems], mirrors, downloader, staging)
            for name, path in problems.items():
                if path.exists():
                    path.replace(path.with_name(f"{path.name}.damaged"))
                (staging / name).replace(folder / name)
    except (OSError, ValueError) as error:
        raise UnreachableError(f"the download failed: {textwrap.shorten(str(error), 120)}") from error


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed download left in a folder, unless another download is running there."""
    if any(folder.glob(f"{STAGING}*")):
        with contextlib.suppress(OSError), _staging(folder, timeout=0):
            pass


@contextlib.contextmanager
def _staging(folder: Path, timeout: float = -1) -> Iterator[Path]:
    """An empty folder for unfinished files, removed at the end. One process at a time; the lock ends with it.

    timeout: seconds to wait for the lock; negative: until it is free.
    """
    staging, lock = folder / STAGING, folder / f"{STAGING}.lock"
    with filelock.FileLock(lock, timeout=timeout):
        try:
            shutil.rmtree(staging, ignore_errors=True)
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            with contextlib.suppress(OSError):  # Windows does not remove an open file
                lock.unlink()  # while it is held: processes that wait for this file notice that it is gone


def _retrieve(files: list[tuple[str, str]], mirrors: list[str], downloader: Any, staging: Path) -> None:
    """Download and unpack files, given with their archives' MD5s. Raises what the last mirror raised."""
    import pooch

    for mirror in mirrors:
        try:
            for name, md5 in files:  # pooch skips those that an earlier mirror gave
                unpack = pooch.Decompress(name=name)
                pooch.retrieve(f"{mirror}{name}.gz", f"md5:{md5}", f"{name}.gz", staging, unpack, downloader)
            return
        except (OSError, ValueError):
            if mirror == mirrors[-1]:
                raise


def _answering_mirrors(archives: Archives, downloader: Any) -> list[str]:
    """The mirrors, without those before the first that answers. Raises UnreachableError where none answers in time."""
    answers: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def ask() -> None:
        for number, mirror in enumerate(archives.mirrors):
            with contextlib.suppress(OSError):
                if downloader(mirror + next(iter(archives.md5)), None, None, check_only=True):
                    answers.put(archives.mirrors[number:])
                    return
        answers.put([])

    threading.Thread(target=ask, daemon=True).start()  # since looking up a name has no timeout
    with contextlib.suppress(queue.Empty):
        if found := answers.get(timeout=ANSWER_SECONDS):
            return found
    raise UnreachableError("no download site answers")
