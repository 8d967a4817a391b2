"""The console script `digits`, also `python -m digit_recognizer`: finds the command and calls it."""

import argparse
import difflib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from digit_recognizer import __version__
from digit_recognizer.cli import adapt, apps, models, parser, study, train, train_pages
from digit_recognizer.recipes import page_reader
from digit_recognizer.runtime.errors import UserError

Flags = Callable[[argparse.ArgumentParser], None]
Command = Callable[[argparse.Namespace], int | None]


def _train(options: argparse.Namespace) -> None:
    """Train a network and score it, as mnist_recognition.py does; or the page reader."""
    if options.recipe == page_reader.NAME:
        train_pages.run(options)
        return
    import mnist_recognition  # installed beside this package

    mnist_recognition.main(options)


COMMANDS: dict[str, tuple[Flags, Command]] = {
    "train": (train.add_flags, _train),
    "predict": (apps.add_predict_flags, apps.predict),
    "draw": (apps.add_draw_flags, apps.draw),
    "serve": (apps.add_serve_flags, apps.serve),
    "adapt": (adapt.add_flags, adapt.adapt),
    "evaluate": (models.add_evaluate_flags, models.evaluate),
    "export": (models.add_export_flags, models.export),
    "study": (study.add_study_flags, study.study),
    "compare": (study.add_compare_flags, study.compare),
    "verify": (study.add_verify_flags, study.verify),
    "figures": (study.add_figures_flags, study.figures),
}


def start() -> None:
    """The entry point."""
    parser.run_main(main)


def main() -> int | None:
    """Read the command line and call the command. Returns its exit status.

    Without a command, print the help; with a command that lacks its arguments, that command's help.
    """
    digits, commands = _parsers()
    name = sys.argv[1] if len(sys.argv) > 1 else "-"
    if name not in commands and not name.startswith("-"):
        raise UserError(f"unknown command '{name}'; {_meant(name)}")
    if len(sys.argv) == 2 and name in commands and any(argument.required for argument in commands[name]._actions):
        commands[name].print_help(sys.stderr)
        return 2
    options = digits.parse_args()
    if os.environ.get("LOCAL_WORLD_SIZE", "1") != "1" and name != "train":  # set by torchrun
        raise UserError("only training runs in several processes; start this command without torchrun")
    return options.command(options)


def _parsers() -> tuple[parser.Parser, dict[str, parser.Parser]]:
    """The parser of the command line, and those of the commands by name. A command's help is its docstring."""
    digits = parser.Parser(prog="digits", description="Read handwritten digits, and train the networks that do.")
    digits.add_argument("--version", action="version", version=f"digits {__version__}")
    digits.set_defaults(command=lambda _: digits.print_help())
    subparsers = digits.add_subparsers(metavar="COMMAND")
    commands = {}
    for name, (add_flags, command) in COMMANDS.items():
        commands[name] = subparsers.add_parser(name, help=command.__doc__, description=command.__doc__)
        commands[name].set_defaults(command=command)
        add_flags(commands[name])
    return digits, commands


def _meant(name: str) -> str:
    """What may have been meant by an unknown command."""
    if Path(name).exists():
        return f"did you mean: digits predict {name}?"
    nearest = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(COMMANDS)}"
