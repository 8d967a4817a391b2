"""Reads files of pictures, a line each; scores them where their labels are known."""

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from digit_recognizer.cli import labelled_files
from digit_recognizer.recognition.recognizer import Number, Prediction, Recognizer
from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import percent

BAR = 20  # characters of a bar that stands for certainty


def run(
    names: Sequence[str],
    recognizer: Recognizer,
    *,
    number: bool = False,
    as_json: bool = False,
    show: str | None = None,
) -> int:
    """Read each picture of these files, folders and patterns, and print a line for each.

    recognizer: what reads them. number: read rows of digits. show: a folder for pictures of
    how each was read. Returns the exit status: 1 where some could not be read. Raises UserError where none could.
    """
    if show is not None:
        files.check_writable(show)
    pictures = labelled_files.collect(names)
    width = max(len(_printable(picture.path)) for picture in pictures)
    scored: list[tuple[labelled_files.Labelled, str | None]] = []
    failed = 0
    for count, picture in enumerate(pictures, start=1):
        try:
            answer = recognizer.read_number(picture.path) if number else recognizer.predict(picture.path)
        except UserError as error:
            if len(pictures) == 1:
                raise
            failed += 1
            scored += [(picture, labelled_files.UNREADABLE)] if picture.label is not None else []
            print("error:", " ".join(_printable(Path(str(error))).split()), file=sys.stderr, flush=True)
            continue
        print(_json(picture.path, answer) if as_json else _line(picture.path, answer, width), flush=True)
        if picture.label is not None:
            scored.append((picture, read_as(answer)))
        if show is not None:
            _save_strip(Path(show) / f"{count:04}_{picture.path.stem}.png", picture.path, answer)
    if scored and not as_json:
        print("\n".join(labelled_files.report(scored)))
    _say_what_is_not_scored(pictures)
    if failed == len(pictures):
        raise UserError(f"none of the {failed} pictures could be read")
    return 1 if failed else 0


def _say_what_is_not_scored(pictures: Sequence[labelled_files.Labelled]) -> None:
    """A line for each folder that one picture's name keeps from being scored."""
    for stray in dict.fromkeys(picture.stray for picture in pictures if picture.stray is not None):
        folder, name = _printable(stray.parent), _printable(Path(stray.name))
        print(f"{folder} is not scored: {name} begins with no single digit nor its English word", file=sys.stderr)


def read_as(answer: Prediction | Number) -> str | None:
    """What was read, as text; None where there is no digit."""
    if isinstance(answer, Number):
        return answer.number or None
    return None if answer.digit is None else str(answer.digit)


def _line(path: Path, answer: Prediction | Number, width: int) -> str:
    """File, digit, how sure as a bar and a number, the runner-up; or why there is no digit."""
    name = _printable(path).ljust(width)
    if isinstance(answer, Number):
        if answer.reason:
            return f"{name}  -  {answer.reason}"
        return f"{name}  {' / '.join(answer.rows)}  least confidence {percent(answer.confidence)}"
    notes = f"  ({'; '.join(answer.warnings)})" if answer.warnings else ""
    if answer.digit is None:
        hint = "; try --number" if answer.reason == "several digits" else ""
        return f"{name}  -  {answer.reason}{hint}{notes}"
    bar = ("#" * round(BAR * answer.confidence)).ljust(BAR, ".")
    second = answer.ranked[1]
    runner_up = f"then {second} {percent(answer.probabilities[second])}"
    return f"{name}  {answer.digit}  {bar} {percent(answer.confidence):>6}  {runner_up}{notes}"


def _printable(path: Path) -> str:
    """A file's name on one line, and without bytes that are no text."""
    return " ".join(str(path).encode(errors="surrogateescape").decode(errors="replace").splitlines())


def _json(path: Path, answer: Prediction | Number) -> str:
    """The same as one JSON object; of several digits with their number, rows and boxes, and each digit for itself."""
    if isinstance(answer, Number):
        found: dict[str, Any] = {
            "number": answer.number,
            "reason": answer.reason,
            "boxes": [list(box) for box in answer.boxes],
            "rows": list(answer.rows),
            "digits": [_fields(one) for one in answer.predictions],
        }
    else:
        found = _fields(answer)
    return json.dumps({"file": str(path), **found})


def _fields(answer: Prediction) -> dict[str, Any]:
    return {
        "digit": answer.digit,
        "confidence": round(answer.confidence, 6),
        "probabilities": [round(probability, 6) for probability in answer.probabilities],
        "reason": answer.reason,
        "warnings": list(answer.warnings),
    }


def _save_strip(target: Path, path: Path, answer: Prediction | Number) -> None:
    """The picture, the ink found, what the network saw, and its probabilities, side by side."""
    from digit_recognizer import plots
    from digit_recognizer.preprocessing import image_io, mnist_format
    from digit_recognizer.recognition import plots as recognition_plots

    if isinstance(answer, Number):
        figure = recognition_plots.number(image_io.read(path), answer, path.name)
    else:
        figure = recognition_plots.digit(mnist_format.to_mnist(path), answer, path.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters in the file's name that the font lacks
        plots.save(figure, target)
