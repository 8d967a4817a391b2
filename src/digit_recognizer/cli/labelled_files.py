"""Picture files by name, folder or pattern, with their labels where these are known."""

import csv
import os.path
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from digit_recognizer.runtime.errors import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pbm", ".pnm"}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TABLE = "labels.csv"
UNREADABLE = ""  # stands for what was read in a file that cannot be read


class Labelled(NamedTuple):
    """A file and its label, one digit or several; None where it is not known.

    unlabelled: in a folder that is not scored, the one picture whose name holds no label while others' do.
    """

    path: Path
    label: str | None
    unlabelled: Path | None = None


def collect(names: Iterable[str | Path]) -> list[Labelled]:
    """Return the pictures of these files, folders and patterns (*.jpg), each once, those of a folder by name.

    Labels come from labels.csv in a folder (columns file and label). Without it they come from the names, where all of
    a folder's begin with one digit or its English word: 7_a.png, three.jpg. Raises UserError for a folder or pattern
    without pictures and for a table that cannot be used. A missing file is reported by its reader.
    """
    found: list[Labelled] = []
    for name in names:
        path = Path(name)
        # os.path's functions return False where access is denied; Path's raise.
        if os.path.isdir(path):  # noqa: PTH112
            found += _in_folder(path)
        elif not os.path.exists(path) and re.search(r"[*?\[]", str(name)):  # noqa: PTH110
            for match in _match(path):
                found += _in_folder(match) if match.is_dir() else [Labelled(match, None)]
        else:
            found.append(Labelled(path, None))
    unique: dict[Path, Labelled] = {}
    for picture in found:
        if picture.path not in unique or unique[picture.path].label is None:
            unique[picture.path] = picture
    return list(unique.values())


def _match(pattern: Path) -> list[Path]:
    """The files and folders of a pattern, by name. Raises UserError where there is none."""
    anchor = Path(pattern.anchor)
    try:
        found = sorted(anchor.glob(str(pattern.relative_to(anchor) if pattern.anchor else pattern)))
    except ValueError as error:  # such as a**b
        raise UserError(f"{pattern} is not a valid pattern: {error}") from error
    if not found:
        raise UserError(f"no file matches {pattern}")
    return found


def _in_folder(folder: Path) -> list[Labelled]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if (folder / TABLE).exists():
        return _read_table(folder / TABLE)
    if not paths:
        raise UserError(f"there are no pictures in {folder}")
    labels = [_label_in(path.stem) for path in paths]
    if None not in labels:
        return [Labelled(path, label) for path, label in zip(paths, labels, strict=True)]
    unlabelled = paths[labels.index(None)] if any(labels) else None
    return [Labelled(path, None, unlabelled) for path in paths]


def _read_table(table: Path) -> list[Labelled]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [Labelled(table.parent / row["file"], row["label"].strip()) for row in csv.DictReader(file)]
    except (KeyError, AttributeError, TypeError, csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{table} is not a table with the columns file and label") from error
    wrong = [row for row in rows if not (row.label or "").isdecimal()]
    if wrong or not rows:
        reason = f"says '{wrong[0].label}' of {wrong[0].path.name}" if wrong else "is empty"
        raise UserError(f"{table} {reason}; a label is one digit, or several")
    return rows


def _label_in(stem: str) -> str | None:
    """The digit with which a name begins, alone or as a word."""
    first = re.split(r"[^0-9A-Za-z]", stem.lower())[0]
    if len(first) == 1 and first.isdecimal():
        return first
    return str(WORDS.index(first)) if first in WORDS else None


def report(answers: Sequence[tuple[Labelled, str | None]]) -> list[str]:
    """Return lines of text: how many pictures were read correctly, and the mistakes.

    answers: each with what was read, None for no digit, or UNREADABLE.
    """
    correct = sum(labelled.label == read for labelled, read in answers)
    rejected = sum(read is None for _, read in answers)
    without_digit = f", {rejected} rejected" if rejected else ""
    lines = [f"{correct} of {len(answers)} right: {correct / len(answers):.2%}{without_digit}"]
    if unreadable := [labelled.path.name for labelled, read in answers if read == UNREADABLE]:
        lines.append(f"{len(unreadable)} could not be read: {', '.join(unreadable)}")
    mistakes: dict[tuple[str, str], list[str]] = {}
    for labelled, read in answers:
        if read not in (labelled.label, UNREADABLE):
            mistakes.setdefault((str(labelled.label), read or "no digit"), []).append(labelled.path.name)
    lines += [f"{label} read as {read}: {', '.join(names)}" for (label, read), names in sorted(mistakes.items())]
    return lines
