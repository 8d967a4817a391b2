"""What all commands share: the argument parser, common flags, exit statuses. Imports nothing heavy."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from digit_recognizer.runtime.errors import UserError


class Parser(argparse.ArgumentParser):
    """argparse with whole flag names only and one line for a mistake."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        sys.exit(fail(f"{message} (see --help)"))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        sys.stdout.flush()  # of --help and --list, while `run` can still report a full disk
        super().exit(status, message)


def positive(text: str) -> int:
    """The type of a flag that takes an integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not '{text}'")
    return int(text)


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """The folder of the data sets."""
    parser.add_argument("--data-dir", metavar="DIR", help="folder of MNIST/raw (default: $DIGITS_DATA_DIR, else data)")


def add_dataset(parser: argparse.ArgumentParser, default: str) -> None:
    """The data set and its folder. default: the default in words."""
    names = "mnist, qmnist, qmnist-writers or optdigits"
    parser.add_argument("--dataset", metavar="NAME", help=f"{names} (default: {default})")
    add_data_dir(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """The saved model to read, as an argument, and its normalisation."""
    parser.add_argument("model", metavar="MODEL", help="a saved model, or a bare state dict of linear layers")
    add_normalisation(parser)


def add_normalisation(parser: argparse.ArgumentParser) -> None:
    """How the pixels were normalised in training, for a file that does not say so itself."""
    for name in ("mean", "std"):
        parser.add_argument(f"--{name}", metavar="X", type=float, help=f"{name} of pixels in [0, 1], for a state dict")


def refuse_together(flag: str, given: bool, others: Mapping[str, Any]) -> None:
    """Raise UserError if a flag was given with another that it would ignore. others: values by flag, None if absent."""
    for other, value in others.items():
        if given and value is not None:
            raise UserError(f"{flag} takes no {other}; leave one of them out")


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a shutdown or a cluster sends it. Everything is left as by Ctrl-C."""


def run_main(main: Callable[[], int | None]) -> None:
    """Call a command's main, which may return an exit status.

    What the user can mend ends in one line and status 2, Ctrl-C in one line and 130, SIGTERM in one line and 143.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        status = main()
        sys.stdout.flush()
        if status:
            sys.exit(status)
    except BrokenPipeError:  # the reader, such as head, has gone: there is nobody left to tell
        _drop_output()
        sys.exit(1)
    except UserError as error:
        sys.exit(fail(str(error)))
    except OSError as error:  # what the system refuses: a folder without permission, a full disk behind a pipe
        if error.filename is None:  # no file of ours: the output itself
            _drop_output()
        sys.exit(fail(f"{error.filename or 'output'}: {error.strerror or error}", shared=False))
    except KeyboardInterrupt as stop:
        by, status = ("SIGTERM", 143) if isinstance(stop, Terminated) else ("Ctrl-C", 130)
        if _is_local_main_process():
            print(f"\nstopped by {by}; no file is left half-written", file=sys.stderr)
        sys.exit(status)
    finally:
        signal.signal(signal.SIGTERM, before)


def fail(message: str, shared: bool = True) -> int:
    """Print one line on standard error and return 2, the exit status for what the user can mend.

    shared: whether all processes say the same, so that one on each machine is enough.
    """
    if _is_local_main_process() or not shared:
        print("error:", " ".join(message.split()), file=sys.stderr)
    return 2


def _terminate(*_: object) -> None:
    raise Terminated


def _drop_output() -> None:
    """Discard what is still unwritten, so that Python does not try again as it exits, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_local_main_process() -> bool:
    """Whether this is the only process on this machine, or the first of those that torchrun started."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
