"""The argument parser, the flags that several commands share, and exit statuses. Imports nothing heavy."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.packages import missing_package
from digit_recognizer.runtime.text import one_line


class Parser(argparse.ArgumentParser):
    """argparse without abbreviated flags, and with one line for a mistake."""

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
    """Declare --data-dir."""
    parser.add_argument("--data-dir", metavar="DIR", help="folder of MNIST/raw (default: $DIGITS_DATA_DIR, else data)")


def add_dataset(parser: argparse.ArgumentParser, default: str, more: Sequence[str] = ()) -> None:
    """Declare --dataset and --data-dir. default: the default in words; more: sets beside those to train on."""
    *names, last = "mnist", "qmnist", "qmnist-writers", "optdigits", *more
    parser.add_argument("--dataset", metavar="NAME", help=f"{', '.join(names)} or {last} (default: {default})")
    add_data_dir(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare the argument MODEL, --mean and --std."""
    parser.add_argument("model", metavar="MODEL", help="a saved model, or a bare state dict of linear layers")
    add_normalisation(parser)


def add_normalisation(parser: argparse.ArgumentParser) -> None:
    """Declare --mean and --std, the normalisation of a model whose file does not hold it."""
    for name in ("mean", "std"):
        parser.add_argument(f"--{name}", metavar="X", type=float, help=f"{name} of pixels in [0, 1], for a state dict")


def refuse_together(flag: str, given: bool, others: Mapping[str, Any]) -> None:
    """Raise UserError if a flag was given with one that it ignores. others: values by flag, None for absent ones."""
    for other, value in others.items():
        if given and value is not None:
            raise UserError(f"{flag} takes no {other}; leave one of them out")


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a shutdown or a cluster sends it; handled as Ctrl-C is."""


def run_main(main: Callable[[], int | None]) -> None:
    """Call a command's main, which may return an exit status.

    A UserError, or a package that is not installed, ends in one line and status 2, Ctrl-C in one line and 130, SIGTERM
    in one line and 143.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        status = main()
        sys.stdout.flush()
        if status:
            sys.exit(status)
    except BrokenPipeError:  # the reader, such as head, has ended
        _drop_output()
        sys.exit(1)
    except UserError as error:
        sys.exit(fail(str(error)))
    except ModuleNotFoundError as error:  # of an extra that is not installed
        sys.exit(fail(str(missing_package(error))))
    except OSError as error:  # such as a folder without permission, or a full disk
        if error.filename is None:  # it was the output itself
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
    """Print one line on standard error and return 2, the exit status of a UserError.

    shared: whether all processes fail alike, so that one line on each machine is enough.
    """
    if _is_local_main_process() or not shared:
        print("error:", one_line(message), file=sys.stderr)
    return 2


def _terminate(*_: object) -> None:
    raise Terminated


def _drop_output() -> None:
    """Discard what is not written yet, so that Python does not fail at it again as it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_local_main_process() -> bool:
    """Return whether this is the only process on its machine, or the first of those that torchrun started."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
