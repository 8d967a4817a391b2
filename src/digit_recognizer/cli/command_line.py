"""What a command's user meets: one line for each mistake, and exit statuses. Imports nothing heavy."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from digit_recognizer.runtime.errors import UserError


class Parser(argparse.ArgumentParser):
    """argparse with whole flag names only, and one line for a mistake."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        sys.exit(fail(f"{message} (see --help)"))


class Terminated(KeyboardInterrupt):
    """SIGTERM, which a shutdown or a cluster sends: everything is left as by Ctrl-C."""


def run(main: Callable[[], None]) -> None:
    """Call a command's main. What its user can mend ends in one line and status 2.

    Ctrl-C ends it in one line and status 130, SIGTERM in one line and 143.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has gone: there is nobody left to tell
        _drop_output()
        sys.exit(1)
    except UserError as error:
        sys.exit(fail(str(error)))
    except OSError as error:  # what the system refuses: a folder that may not be read, a full disk behind a pipe
        if error.filename is None:  # no file of ours: the output itself
            _drop_output()
        sys.exit(fail(f"{error.filename or 'output'}: {error.strerror or error}", shared=False))
    except KeyboardInterrupt as stop:
        by, status = ("SIGTERM", 143) if isinstance(stop, Terminated) else ("Ctrl-C", 130)
        if _speaks():
            print(f"\nstopped by {by}; every file is as it was or whole", file=sys.stderr)
        sys.exit(status)
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(*_: object) -> None:
    raise Terminated


def _drop_output() -> None:
    """Send what is still unwritten nowhere, so that Python does not try it again at its end and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, shared: bool = True) -> int:
    """Print one line on standard error. Returns the exit status for what the user can mend.

    shared: whether all processes say the same, so that one on each machine is enough.
    """
    if _speaks() or not shared:
        print("error:", " ".join(message.split()), file=sys.stderr)
    return 2


def _speaks() -> bool:
    """Whether this is the only process on this machine, or the first of those that torchrun started."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
