"""Fetching the files of a data set, whole or not at all, and never waiting long for a network that is not there.

Of several processes that want the same files one fetches them; the others wait and then find them.
"""

import contextlib
import http.client
import os
import shutil
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import filelock

from digit_recognizer.runtime.errors import UserError

# Together under the 15 seconds after which a download that cannot be had is given up: first one look at the mirrors,
# then, if the line goes dead in the middle, one silence of each. A slow line that goes on sending is never given up.
REACH_SECONDS = 5
STALL_SECONDS = 3

TEMPORARY = ".download-"  # begins the names of all that a download makes beside the files
FAILURES = (OSError, RuntimeError, EOFError, http.client.HTTPException)

Archives = Mapping[str, tuple[Sequence[str], str]]  # of each file: its archive's address on each mirror, and its MD5
Lacking = Callable[[Path], Collection[str]]  # the names of the files that are missing or damaged in a folder


class UnreachableError(UserError):
    """The data set is neither on disk nor to be had from the network. files: the names of what is missing."""

    def __init__(self, message: str, files: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.files = files


def fetch(archives: Archives, folder: Path, lacking: Lacking) -> None:
    """Fetch what a folder lacks, and move it there once all of that is whole.

    A damaged file is kept as <name>.damaged. Raises UnreachableError; what was there is then as it was, and whatever
    this call made is gone again.
    """
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        first = _first_mirror(archives, folder)
        folder.mkdir(parents=True, exist_ok=True)
        with _alone_in(folder):
            _fetch_alone(archives, folder, lacking, first)
    except FAILURES as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise UnreachableError(f"the download failed ({reason})") from error
    finally:
        _remove_empty(created)


def clear_away(folder: Path) -> None:
    """Remove what a killed download left in a folder, unless another one is going on there."""
    if any(folder.glob(f"{TEMPORARY}*")):
        with contextlib.suppress(OSError), _alone_in(folder, patience=0):
            pass


@contextlib.contextmanager
def _alone_in(folder: Path, patience: float = -1) -> Iterator[None]:
    """Wait until no other download goes on in this folder; what is left of one there is then of a dead process.

    The lock ends with its process. patience: in seconds, endless where negative.
    """
    path = folder / f"{TEMPORARY}lock"
    with filelock.FileLock(path, timeout=patience):
        try:
            for left in folder.glob(f"{TEMPORARY}*"):
                if left != path:
                    shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows removes no file that is open
                path.unlink()  # while it is held: who waited for this file sees that it is gone


def _fetch_alone(archives: Archives, folder: Path, lacking: Lacking, first: int) -> None:
    found = lacking(folder)  # which another process may have mended meanwhile
    wanted = {file: archive for file, archive in archives.items() if file in found}
    if not wanted:
        return
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=folder) as temporary, _short_timeout():
        fresh = Path(temporary)
        _unpack(wanted, fresh, first)
        for file in lacking(fresh):
            if file in wanted:
                raise UnreachableError(f"what was downloaded as {file} is not it")
        for file in wanted:
            if (folder / file).exists():
                (folder / file).replace(folder / f"{file}.damaged")
            (fresh / file).replace(folder / file)


def _unpack(archives: Archives, folder: Path, first: int) -> None:
    """Download each archive and unpack it; a mirror that fails is not asked again. Raises what the last one did."""
    from torchvision.datasets import utils

    remaining = list(archives.items())
    mirrors = len(remaining[0][1][0])
    for mirror in range(first, mirrors):
        try:
            while remaining:
                _, (addresses, md5) = remaining[0]
                utils.download_and_extract_archive(addresses[mirror], folder, md5=md5)
                del remaining[0]
            return
        except FAILURES:
            if mirror == mirrors - 1:
                raise


def _first_mirror(archives: Archives, folder: Path) -> int:
    """The number of the first mirror that answers. Raises UnreachableError where none does, or nothing can be written.

    In a thread, since looking up a name has no timeout.
    """
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(there, os.W_OK):
        raise UnreachableError(f"{there} cannot be written to; choose another folder with --data-dir")
    addresses = next(iter(archives.values()))[0]
    found: list[int] = []
    done = threading.Event()

    def look() -> None:
        for number, address in enumerate(addresses):
            with contextlib.suppress(OSError, http.client.HTTPException):
                # S310 asks who chose the address: torchvision.
                with urllib.request.urlopen(address, timeout=STALL_SECONDS) as response:  # noqa: S310
                    response.read(1)
                found.append(number)
                break
        done.set()

    threading.Thread(target=look, daemon=True).start()
    done.wait(REACH_SECONDS)
    if not found:
        raise UnreachableError("no download site answers")
    return found[0]


@contextlib.contextmanager
def _short_timeout() -> Iterator[None]:
    """Torchvision opens its connections without a timeout; this gives them one."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders, innermost first, that are there and empty."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
