"""digits adapt: train a network on for one person's digits, from a folder of labelled pictures."""

import argparse
import contextlib
import os.path
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from digit_recognizer.cli.parser import add_data_dir
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import columns, one_line

if TYPE_CHECKING:
    from digit_recognizer.recognition.adaptation import Adaptation, OnStep, Suspect


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `adapt`."""
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="labelled pictures, one digit each: 7_a.png, three.jpg, or a labels.csv")
    add("--model", metavar="MODEL", help="what to start from (default: the network in the package)")
    add("--out", metavar="FILE", required=True, help="the file to write, such as mine.pth")
    add("--trust-labels", action="store_true", help="learn also pictures that look like another digit than their label")
    add_data_dir(parser)


def adapt(options: argparse.Namespace) -> int:
    """Train a network on for the digits of one person, from a folder of labelled pictures."""
    out = Path(options.out)
    if out.exists() and not out.is_file():
        raise UserError(f"{out} is a folder, or not an ordinary file; give --out the name of a file")
    pictures = _collect(options.folder)

    from tqdm import tqdm

    from digit_recognizer import checkpoints
    from digit_recognizer.recognition import adaptation
    from digit_recognizer.recognition.recognizer import SHIPPED
    from digit_recognizer.runtime import files
    from digit_recognizer.runtime.device import choose_device

    files.check_writable(out.parent)
    choose_device("cpu")
    start = checkpoints.pretrained(SHIPPED) if options.model is None else checkpoints.load(options.model)
    tqdm.set_lock(threading.RLock())  # its own is shared by processes
    with _bar("reading") as on_step:
        paths, own, left_out = adaptation.take_digits(pictures, on_step)
    if not paths and not os.path.isdir(options.folder):  # noqa: PTH112
        raise UserError(f"{options.folder} is no longer there; start again once it is")
    for line in left_out:
        print(line, file=sys.stderr)
    others = adaptation.load_others(options.data_dir)
    with _bar("learning") as on_step:
        try:
            adapted = adaptation.adapt(start, own, others, trust_labels=options.trust_labels, on_step=on_step)
        except adaptation.MislabelledError as error:
            for line in _name(error.suspects, paths):
                print(line, file=sys.stderr)
            raise UserError(f"{error}, or give --trust-labels") from error
    if others.name != "mnist":
        print("MNIST is not on disk: learned beside optdigits, the embedded set; temperature and threshold are kept")
    print(_report(adapted, paths))
    if adapted.worse:
        names = ", ".join(each.name for each in adapted.worse)
        print(f"nothing is written: the new network is worse than the old one on {names}, by more than chance")
        return 1
    checkpoints.save(out, adapted.model, adapted.recipe, adapted.record)
    print(f"wrote {one_line(out)}; digits predict --model {one_line(out)} reads with it")
    return 0


@contextlib.contextmanager
def _bar(what: str) -> Iterator["OnStep"]:
    """A progress bar, and what moves it."""
    from tqdm import tqdm

    with tqdm(total=100, desc=what, unit="%", leave=False, disable=None) as bar:
        yield lambda part: bar.update(int(100 * part) - bar.n) and None


def _collect(folder: str) -> list[tuple[Path, int]]:
    """The pictures of a folder with their labels. Raises UserError where these are not one digit each."""
    from digit_recognizer.cli import labelled_files

    if not os.path.isdir(folder):  # noqa: PTH112  # Path's raises where access is denied
        raise UserError(f"{folder} is not a folder; name one with labelled pictures, such as 7_a.png and three.jpg")
    found = labelled_files.collect([folder])
    for path, label, unlabelled in found:
        if label is None:
            raise UserError(
                f"{unlabelled or path} has no label; begin the names with the digit, such as 7_a.png or three.jpg, or "
                f"add a {labelled_files.TABLE} with the columns file and label"
            )
        if len(label) != 1:
            raise UserError(f"{path} is labelled {label}; adapt learns from pictures of one digit each")
    return [(each.path, int(str(each.label))) for each in found]


def _name(suspects: Sequence["Suspect"], paths: list[Path]) -> list[str]:
    """The pictures that look like another digit than their label, a line each."""
    return [
        f"{one_line(paths[each.picture])} is labelled {each.label} and looks like {each.looks_like}"
        for each in suspects
    ]


def _report(adapted: "Adaptation", paths: list[Path]) -> str:
    """What was left out, before and after, and how many more digits would help, as text."""
    lines = [f"{line}; left out" for line in _name(adapted.suspects, paths)]
    if lines:
        lines.append("--trust-labels learns them all the same")
    rows = [("", "n", "before", "after")]
    rows += [
        (each.name, f"{each.total:,}", f"{each.before / each.total:.2%}", f"{each.after / each.total:.2%}")
        for each in adapted.comparisons
    ]
    return "\n".join([*lines, columns(rows), *adapted.advice()])
