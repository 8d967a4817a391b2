"""Files of pictures by name, folder or pattern, and what they show, where that is known."""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from digit_recognizer.runtime.errors import UserError

KINDS = {".png", ".jpg", ".jpeg", ".jpe", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm", ".pnm"}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TABLE = "labels.csv"
UNREADABLE = ""  # what a file that is no picture is read as


class Labelled(NamedTuple):
    """A file, and what it shows as text; None where that is not known.

    unlabelled: of a folder that is not scored, the picture whose name, unlike others, has no label.
    """

    path: Path
    label: str | None
    unlabelled: Path | None = None


def collect(names: Iterable[str | Path]) -> list[Labelled]:
    """The pictures of these files, folders and patterns (*.jpg), those of a folder by name, each once.

    Labels come from labels.csv in a folder (columns file and label), else from the names of its pictures where all of
    them begin with a digit and no further one, or with its word: 7_a.png, three.jpg. Raises UserError for a folder or
    pattern without pictures, and for a table that cannot be used; a file that is missing is for its reader to say.
    """
    found: list[Labelled] = []
    for name in names:
        path = Path(name)
        if _may_be(path.is_dir):
            found += _of_folder(path)
        elif not _may_be(path.exists) and re.search(r"[*?\[]", str(name)):
            for one in _matching(path):
                found += _of_folder(one) if one.is_dir() else [Labelled(one, None)]
        else:
            found.append(Labelled(path, None))
    known: dict[Path, Labelled] = {}
    for picture in found:
        if picture.path not in known or known[picture.path].label is None:
            known[picture.path] = picture
    return list(known.values())


def _may_be(question: Callable[[], bool]) -> bool:
    """The answer; no, where the system does not let us see."""
    try:
        return question()
    except OSError:
        return False


def _matching(pattern: Path) -> list[Path]:
    """The files and folders of a pattern, by name. Raises UserError where there is none."""
    anchor = Path(pattern.anchor)
    try:
        found = sorted(anchor.glob(str(pattern.relative_to(anchor) if pattern.anchor else pattern)))
    except ValueError as error:  # such as a**b
        raise UserError(f"{pattern} is not a pattern that can be looked for: {error}") from error
    if not found:
        raise UserError(f"no file is called {pattern}")
    return found


def _of_folder(folder: Path) -> list[Labelled]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in KINDS and path.is_file())
    if (folder / TABLE).exists():
        return _of_table(folder / TABLE)
    if not files:
        raise UserError(f"there are no pictures in {folder}")
    labels = [_label_of(path.stem) for path in files]
    if None not in labels:
        return [Labelled(path, label) for path, label in zip(files, labels, strict=True)]
    unlabelled = files[labels.index(None)] if any(labels) else None
    return [Labelled(path, None, unlabelled) for path in files]


def _of_table(table: Path) -> list[Labelled]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [Labelled(table.parent / row["file"], row["label"].strip()) for row in csv.DictReader(file)]
    except (KeyError, AttributeError, TypeError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{table} is not a table with the columns file and label") from error
    wrong = [row for row in rows if not (row.label or "").isdecimal()]
    if wrong or not rows:
        what = f"says '{wrong[0].label}' of {wrong[0].path.name}" if wrong else "is empty"
        raise UserError(f"{table} {what}; a label is one digit, or several")
    return rows


def _label_of(stem: str) -> str | None:
    """The digit with which a name begins, alone or as a word."""
    first = re.split(r"[^0-9A-Za-z]", stem.lower())[0]
    if len(first) == 1 and first.isdecimal():
        return first
    return str(WORDS.index(first)) if first in WORDS else None


def report(answers: Sequence[tuple[Labelled, str | None]]) -> list[str]:
    """How many of these were read right, and which not, as lines of text.

    answers: with what each was read as; None where there was no digit, and UNREADABLE.
    """
    right = sum(labelled.label == read for labelled, read in answers)
    refused = sum(read is None for _, read in answers)
    lines = [f"{right} of {len(answers)} right: {right / len(answers):.2%}" + (f", {refused} refused" * bool(refused))]
    mistakes: dict[tuple[str, str], list[str]] = {}
    for labelled, read in answers:
        if labelled.label != read:
            how = "could not be read" if read == UNREADABLE else f"read as {read or 'no digit'}"
            mistakes.setdefault((str(labelled.label), how), []).append(labelled.path.name)
    lines += [f"{label} {how}: {', '.join(names)}" for (label, how), names in sorted(mistakes.items())]
    return lines
