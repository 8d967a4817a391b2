"""Read picture files, one line each, and score them where their labels are known."""

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from digit_recognizer.cli import labelled_files
from digit_recognizer.cli.parser import fail
from digit_recognizer.recognition.recognizer import Number, Prediction, Recognizer
from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line, percent

BAR_LENGTH = 20  # characters


def run(names: Sequence[str], recognizer: Recognizer, number: bool, as_json: bool, show: str | None) -> int:
    """Read each picture of these files, folders and patterns, and print a line for each.

    number: read rows of digits. show: a folder for figures of how each picture was read. Returns the exit status: 1
    where some could not be read. Raises UserError where none could.
    """
    if show is not None:
        files.check_writable(show)
    pictures = labelled_files.collect(names)
    width = max(len(one_line(picture.path)) for picture in pictures)
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
            fail(str(error))
            continue
        print(_to_json(picture.path, answer) if as_json else _line(picture.path, answer, width), flush=True)
        if picture.label is not None:
            scored.append((picture, _text(answer)))
        if show is not None:
            _save_figure(Path(show) / f"{count:04}_{picture.path.stem}.png", picture.path.name, answer)
    if scored and not as_json:
        print("\n".join(labelled_files.report(scored)))
    for unlabelled in dict.fromkeys(picture.unlabelled for picture in pictures if picture.unlabelled is not None):
        folder, name = one_line(unlabelled.parent), one_line(unlabelled.name)
        print(f"{folder} is not scored: {name} does not begin with a digit or its English name", file=sys.stderr)
    if failed == len(pictures):
        raise UserError(f"none of the {failed} pictures could be read")
    return 1 if failed else 0


def _text(answer: Prediction | Number) -> str | None:
    """What was read; None where there is no digit."""
    if isinstance(answer, Number):
        return answer.number or None
    return None if answer.digit is None else str(answer.digit)


def _line(path: Path, answer: Prediction | Number, width: int) -> str:
    """File, digit, confidence as a bar and a number, a doubt in words; or why there is no digit. Warnings last."""
    name = one_line(path).ljust(width)
    notes = f"  {answer.doubt}" if answer.doubt else ""
    notes += f"  ({'; '.join(answer.warnings)})" if answer.warnings else ""
    if answer.reason is not None:
        hint = "; try --number" if answer.reason == "several digits" else ""
        return f"{name}  -  {answer.reason}{hint}{notes}"
    if isinstance(answer, Number):
        return f"{name}  {' / '.join(answer.rows)}  lowest confidence {percent(answer.confidence)}{notes}"
    bar = ("#" * round(BAR_LENGTH * answer.confidence)).ljust(BAR_LENGTH, ".")
    return f"{name}  {answer.digit}  {bar} {percent(answer.confidence):>6}{notes}"


def _to_json(path: Path, answer: Prediction | Number) -> str:
    if not isinstance(answer, Number):
        return json.dumps({"file": str(path), **_fields(answer)})
    fields = {
        "number": answer.number,
        "reason": answer.reason,
        "boxes": answer.boxes,
        "rows": answer.rows,
        "digits": [_fields(prediction) for prediction in answer.predictions],
        "warnings": answer.warnings,
    }
    return json.dumps({"file": str(path), **fields})


def _fields(prediction: Prediction) -> dict[str, Any]:
    return {
        "digit": prediction.digit,
        "alternatives": prediction.alternatives,
        "confidence": round(prediction.confidence, 6),
        "probabilities": [round(probability, 6) for probability in prediction.probabilities],
        "reason": prediction.reason,
        "warnings": prediction.warnings,
    }


def _save_figure(path: Path, name: str, answer: Prediction | Number) -> None:
    """Draw how a picture was read. name: its title."""
    from digit_recognizer import plots
    from digit_recognizer.recognition.plots import digit, number

    figure = number(answer, name) if isinstance(answer, Number) else digit(answer, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters in the file's name that the font lacks
        plots.save(figure, path)
