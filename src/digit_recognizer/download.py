"""Fetching a data set of torchvision's, whole or not at all, and never waiting long for a network that is not there."""

import contextlib
import http.client
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from digit_recognizer.errors import UserError

# Together under the 15 seconds after which a download that cannot be had is given up: first one look at the mirrors,
# then, if the line goes dead in the middle, torchvision's own two or three attempts.
REACH_SECONDS = 5
STALL_SECONDS = 3


class UnreachableError(UserError):
    """The data set is neither on disk nor to be had from the network. files: the names of what is missing."""

    def __init__(self, message: str, files: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.files = files


def fetch(download: Callable[[Path], object], addresses: list[str], folder: Path) -> None:
    """Let torchvision download into a temporary folder beside the target, then move each unpacked file into place.

    download: called with the temporary folder; addresses: of the first file, one for each mirror.
    Raises UnreachableError; whatever this call made on disk is then gone again.
    """
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        if not _answers(addresses):
            raise UnreachableError("no download site answers")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary, _short_timeout():
            download(Path(temporary))
            for path in [*Path(temporary).rglob("*-ubyte"), *Path(temporary).rglob("*-int")]:
                path.replace(folder / path.name)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise UnreachableError(f"the download failed ({reason})") from error
    finally:
        _remove_empty(created)


def _answers(addresses: list[str]) -> bool:
    """Whether any address answers within REACH_SECONDS; in a thread, since looking up a name has no timeout."""
    found = threading.Event()
    done = threading.Event()

    def look() -> None:
        for address in addresses:
            with contextlib.suppress(OSError, http.client.HTTPException):
                with urllib.request.urlopen(address, timeout=STALL_SECONDS) as response:
                    response.read(1)
                found.set()
                break
        done.set()

    threading.Thread(target=look, daemon=True).start()
    done.wait(REACH_SECONDS)
    return found.is_set()


@contextlib.contextmanager
def _short_timeout():
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
