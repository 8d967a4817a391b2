"""The flags of `digits train` and of mnist_recognition.py, the script that holds the training itself."""

import argparse
from typing import Any

from digit_recognizer import recipes
from digit_recognizer.cli.parser import Parser, add_dataset


def parse_flags(description: str) -> argparse.Namespace:
    """The flags of mnist_recognition.py, from the command line. None stands for the recipe's own value."""
    parser = Parser(description=description)
    add_flags(parser)
    return parser.parse_args()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the main script."""
    add = parser.add_argument
    add("--recipe", metavar="NAME", default=recipes.DEFAULT, help=f"what to train (default: {recipes.DEFAULT})")
    add_dataset(parser, "the recipe's, or optdigits if that is unavailable")
    add("--out", metavar="DIR", default=".", help="folder for the model, figures/ and runs/ (default: the current one)")
    add("--epochs", metavar="N", type=int, help="instead of the recipe's")
    add("--batch-size", metavar="N", type=int, help="instead of the recipe's")
    add("--learning-rate", metavar="X", type=float, help="instead of the recipe's")
    add("--seed", metavar="N", type=_seed, default=0, help="of the initial weights and the batch order (default: 0)")
    add("--device", default="auto", help="auto, cpu, cuda or mps (default: auto, the fastest available)")
    help_threads = "CPU threads (default: 1); auto takes every core if the machine is idle, and 1 if it is busy"
    add("--threads", metavar="N", type=parse_threads, default=1, help=help_threads)
    add("--resume", action="store_true", help="continue a stopped run after its last finished epoch")
    add("--quiet", action="store_true", help="print only the result")
    add("--list", action=_ListRecipes, nargs=0, help="list all recipes and exit")


class _ListRecipes(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(recipes.table())
        parser.exit()


def parse_threads(text: str) -> int | str:
    """The type of --threads: a number, whose range choose_device checks, or "auto"."""
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be auto or a whole number of at least 1, not '{text}'") from None


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:  # more than PyTorch's generators take
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to {2**63 - 1}, not '{text}'")
    return int(text)
