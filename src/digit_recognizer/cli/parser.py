"""The flags of every command. Imports nothing heavy, so that --help is immediate."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from digit_recognizer import recipes
from digit_recognizer.cli import command_line
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import verdicts


def of_training(description: str) -> argparse.Namespace:
    """The main command's flags, read from the command line. None where the recipe's own value stands.

    --help and --list print and end the process.
    """
    parser = command_line.Parser(description=description)
    add = parser.add_argument
    add("--recipe", metavar="NAME", default=recipes.DEFAULT, help=f"what to train; by default {recipes.DEFAULT}")
    add_dataset(parser, "by default the recipe's own, or, where that cannot be had, optdigits")
    add("--out", metavar="DIR", default=".", help="where model, figures/ and runs/ go; by default the current folder")
    add("--epochs", metavar="N", type=int, help="instead of the recipe's")
    add("--batch-size", metavar="N", type=int, help="instead of the recipe's")
    add("--learning-rate", metavar="X", type=float, help="instead of the recipe's")
    add("--seed", metavar="N", type=_seed, default=0, help="of the first weights and the order of digits; by default 0")
    add("--device", default="auto", help="auto, cpu, cuda or mps; auto takes the fastest there is")
    add(
        "--threads",
        metavar="N",
        type=int,
        default=1,
        help="of the CPU; by default 1, enough for small networks; more than there are cores only cost time",
    )
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


def of_a_command(program: str, description: str, commands: Iterable[Callable]) -> argparse.Namespace:
    """The flags of one of these commands, read from the command line, and under `command` the command itself.

    Each is named and described after its function.
    """
    parser = command_line.Parser(prog=program, description=description)
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for function in commands:
        command = parsers.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        command.set_defaults(command=function)
        FLAGS[function.__name__](command)
    return parser.parse_args()


def refuse(flag: str, given: bool, others: Mapping[str, Any]) -> None:
    """Raise UserError where a flag was given and, of the others, one that it would ignore."""
    for other, value in others.items():
        if given and value is not None:
            raise UserError(f"{flag} takes no {other}; leave one of them out")


def _predict(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", metavar="FILE", nargs="+", help="a picture, a folder of pictures, or a pattern such as '*.jpg'")
    add("--model", metavar="MODEL", help="a saved model; by default the network that comes with the package")
    _add_normalisation(parser)
    add("--number", action="store_true", help="read rows of several digits")
    add("--json", action="store_true", help="print one JSON object a line")
    add("--show", metavar="DIR", help="save there how each picture was read")


def _draw(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", metavar="MODEL", help="a saved model; by default the network that comes with the package")
    add("--data-dir", metavar="DIR", help="where MNIST/raw lies, to train on")


def _serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--port", metavar="N", type=positive, help="of this machine; by default 8501")
    add("--models", metavar="DIR", help="a folder of saved models to choose from; by default the current folder")


def _evaluate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    add_dataset(parser, "by default the one that the model was trained on, or, where that cannot be had, optdigits")
    parser.add_argument("--json", metavar="FILE", help="write the scores there too")


def _export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    _add_model(parser)
    add("--format", metavar="NAME", required=True, help="onnx or safetensors")
    add("--out", metavar="FILE", required=True, help="what to write")


def _study(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--recipes", metavar="NAME", nargs="+", help="some, or: all; by default the published ones and their variants")
    add("--seeds", metavar="N", type=positive, help="0 to N - 1; by default 10 to 30, as README's tables")
    add("--out", metavar="DIR", help="of the records; by default results")
    add("--workers", metavar="N", type=positive, help="runs at a time; by default one for each core")
    add("--backend", metavar="NAME", help="local, dask or ray; by default local")
    add("--scheduler", metavar="ADDRESS", help="of a Dask or Ray cluster")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--report", action="store_true", help="train nothing; print what the records say")
    either.add_argument("--quick", action="store_true", help="see that all works: one epoch, two seeds, nothing kept")
    add("--data-dir", metavar="DIR", help="where MNIST/raw lies")


def _compare(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("recipes", metavar="RECIPE", nargs="+", help='a name, or with changes: "cnn_best epochs=20"')
    add("--out", metavar="DIR", default="results", help="of folds.json; by default results")
    add("--workers", metavar="N", type=positive, help="trainings at a time; by default one for each core")
    add("--data-dir", metavar="DIR", help="where MNIST/raw lies")


def _verify(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("record", metavar="RECORD", help="of a run, such as results/mlp_128_adam/mnist-seed0.json")
    add("--data-dir", metavar="DIR", help="where MNIST/raw lies")
    add("--threads", metavar="N", type=positive, help="of the CPU; by default as many as the record says")
    parser.epilog = verdicts.EXPLAINED


def _figures(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--results", metavar="DIR", default="results", help="of the records; by default results")
    add("--out", metavar="DIR", default="figures", help="of the pictures; by default figures")
    add("--data-dir", metavar="DIR", help="where MNIST/raw lies")


def _add_model(parser: argparse.ArgumentParser) -> None:
    """The model to read, and how its pixels were normalised where it does not say so itself."""
    parser.add_argument("model", metavar="MODEL", help="a saved model, or a bare state dict of linear layers")
    _add_normalisation(parser)


def _add_normalisation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--mean", metavar="X", type=float, help="of the pixels in [0, 1], for a bare state dict")
    add("--std", metavar="X", type=float, help="of the pixels in [0, 1], for a bare state dict")


def positive(text: str) -> int:
    """A whole number of at least 1, as the type of a flag."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not '{text}'")
    return int(text)


FLAGS = {
    "predict": _predict,
    "draw": _draw,
    "serve": _serve,
    "evaluate": _evaluate,
    "export": _export,
    "study": _study,
    "compare": _compare,
    "verify": _verify,
    "figures": _figures,
}
