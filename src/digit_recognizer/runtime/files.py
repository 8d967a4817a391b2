"""Write files whole or not at all, or line by line; every file is written here. Read files of limited size."""

import contextlib
import glob
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line

MAX_AGE = 3600  # seconds; an older temporary file was left by a process that was killed
_enabled = True


def disable_writing() -> None:
    """Write nothing from here on: of several processes that train together, one writes."""
    global _enabled
    _enabled = False


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file so that a reader, a crash or a full disk finds the old content or the new, never a part.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and get the name in one step. Raises
    UserError when the folder cannot be written or the disk is full; the old file is then unchanged.
    """
    if not _enabled:
        return
    path = Path(path)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"cannot write {path}: {reason}; what was there before is unchanged") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def open_to_append(path: Path, keep: int = 0) -> Iterator[Callable[[bytes], None]]:
    """Within it, append(content) adds to the end of a file at once: a crash or a full disk cuts off the last part only.

    keep: bytes at the beginning of the file that stay; the rest, such as a line that was cut off, is removed first.
    Raises UserError when the file cannot be written.
    """
    with _explaining(path, "choose another"):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab", buffering=0)
    with file:

        def append(content: bytes) -> None:
            with _explaining(path, "what was written before is in it"):
                while content:
                    content = content[file.write(content) :]  # an almost full disk takes a part of it

        with _explaining(path, "choose another"):
            if path.is_file():
                file.truncate(keep)
        yield append


@contextlib.contextmanager
def _explaining(path: Path, ending: str) -> Iterator[None]:
    """Raise UserError, with this ending, where a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {one_line(path)}: {error.strerror or error}; {ending}") from error


def _remove_stale(path: Path) -> None:
    """Delete temporary files of this file that killed processes left."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with contextlib.suppress(OSError):
            if time.time() - temporary.stat().st_mtime > MAX_AGE:
                temporary.unlink()


def _flush_folder(folder: Path) -> None:
    """Flush the new name to the disk too; Windows has no such call and needs none."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read(path: Path, max_mb: int, remedy: str) -> bytes:
    """Read a file. Raises UserError where that fails; with the remedy where it has more than max_mb megabytes."""
    name = one_line(path)
    try:
        if path.exists() and not path.is_file():  # a pipe, for one, may never end
            raise UserError(f"{name} is a folder, or not an ordinary file")
        if path.stat().st_size > max_mb * 1_000_000:
            raise UserError(f"{name} has more than {max_mb} megabytes; {remedy}")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror or error}") from error


def check_writable(folder: str | Path) -> None:
    """Make a folder and write to it, so that a long run does not fail at its end. Raises UserError."""
    if not _enabled:
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to the folder {folder}: {error.strerror or error}; choose another") from error
