"""Whole files or none: every file that the project writes goes through here."""

import contextlib
import functools
import glob
import os
import tempfile
import time
from pathlib import Path

from digit_recognizer.runtime import distributed
from digit_recognizer.runtime.errors import UserError

FORGOTTEN = 3600  # seconds after which a temporary file must be of a process that was killed


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file so that a reader, a crash or a full disk finds the old content or the new, never a part.

    The bytes go to a temporary file beside it, are flushed to the disk, and take the name in one step. Of several
    processes, which must all call this, the first one writes.
    Raises UserError when the folder cannot be written or the disk is full; the old file is then untouched.
    """
    distributed.run_on_main_process(functools.partial(_write, Path(path), content))


def _write(path: Path, content: bytes) -> None:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_forgotten(path)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())  # mkstemp's files are for one user only
        Path(temporary).replace(path)
        temporary = None
        _flush_folder(path.parent)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; what was there before is unchanged"
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _remove_forgotten(path: Path) -> None:
    """Clear away what a process left that was killed while it wrote this file."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with contextlib.suppress(OSError):
            if time.time() - temporary.stat().st_mtime > FORGOTTEN:
                temporary.unlink()


def check_writable(folder: str | Path) -> None:
    """Make the folder if need be and try it out, so that a long run does not fail at its end. Raises UserError."""
    distributed.run_on_main_process(functools.partial(_try_out, Path(folder)))


def _try_out(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"cannot write to the folder {folder}: {error.strerror or error}; choose another") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_folder(folder: Path) -> None:
    """Make the new name itself durable; Windows has no such call and needs none."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
