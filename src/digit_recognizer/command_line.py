"""What a command's user meets: its flags, one line for each mistake, and exit statuses. Imports nothing heavy."""

import argparse
import os
import sys
from collections.abc import Callable

from digit_recognizer import recipes
from digit_recognizer.errors import UserError


class Parser(argparse.ArgumentParser):
    """argparse with whole flag names only, and one line for a mistake."""

    def __init__(self, **options) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> None:
        sys.exit(fail(f"{message} (see --help)"))


def training_options(description: str) -> argparse.Namespace:
    """The main command's flags, read from the command line. None where the recipe's own value stands.

    --help and --list print and end the process.
    """
    parser = Parser(description=description)
    add = parser.add_argument
    add("--recipe", metavar="NAME", default=recipes.DEFAULT, help=f"what to train; by default {recipes.DEFAULT}")
    add_dataset(parser, "by default the recipe's own, or, where that cannot be had, optdigits")
    add("--out", metavar="DIR", default=".", help="where model, figures/ and runs/ go; by default the current folder")
    add("--epochs", metavar="N", type=int, help="instead of the recipe's")
    add("--batch-size", metavar="N", type=int, help="instead of the recipe's")
    add("--learning-rate", metavar="X", type=float, help="instead of the recipe's")
    add("--seed", metavar="N", type=_seed, default=0, help="of the first weights and the order of digits; by default 0")
    add("--device", default="auto", help="auto, cpu, cuda or mps; auto takes the fastest there is")
    add("--threads", metavar="N", type=int, default=1, help="of the CPU; by default 1, enough for small networks")
    add("--resume", action="store_true", help="go on after the last finished epoch of a run that was stopped")
    add("--quiet", action="store_true", help="print only the result")
    add("--list", action="store_true", help="show all recipes and stop")
    options = parser.parse_args()
    if options.list:
        print(recipes.table())
        sys.exit()
    return options


def add_dataset(parser: argparse.ArgumentParser, default: str) -> None:
    """The two flags that say on which digits."""
    parser.add_argument("--dataset", metavar="NAME", help=f"mnist, qmnist, qmnist-writers or optdigits; {default}")
    parser.add_argument(
        "--data-dir", metavar="DIR", help="where MNIST/raw lies; by default the variable DIGITS_DATA_DIR, else data"
    )


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:  # more than PyTorch's generators take
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {2**63 - 1}, not '{text}'")
    return int(text)


def run(main: Callable[[], None]) -> None:
    """Call a command's main. What its user can mend ends in one line and status 2, Ctrl-C in one line and 130."""
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
    except KeyboardInterrupt:
        if _speaks():
            print("\nstopped by Ctrl-C; every file is as it was or whole", file=sys.stderr)
        sys.exit(130)


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
