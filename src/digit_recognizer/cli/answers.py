"""What `digits predict` says of a picture: the line that is printed, the row of the table, the figure.

Pictures are read in batches, in any process. The network is imported where the first one is read, so that a process
that only prints starts at once.
"""

import contextlib
import functools
import gc
import json
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from digit_recognizer.recognition import table
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line, percent

if TYPE_CHECKING:
    from digit_recognizer.recognition.prediction import Number, Prediction
    from digit_recognizer.recognition.recognizer import Recognizer

BAR_LENGTH = 20  # characters


class Request(NamedTuple):
    """How pictures are read.

    model, mean, std: see Recognizer.load. number: whether to read rows of digits. as_json: whether the line is a JSON
    object. show: a folder for figures of how each picture was read, or None. folder: where relative paths start.
    width: of the longest file name, in characters.
    """

    model: str | None
    mean: float | None
    std: float | None
    number: bool
    as_json: bool
    show: str | None
    folder: Path = Path()
    width: int = 0


class Answer(NamedTuple):
    """How a picture was read: what is printed, an error where the file cannot be read, and its row of the table."""

    line: str
    row: table.Row


def read_batch(number: int, pictures: Iterable[tuple[int, Path]], request: Request) -> tuple[int, list[Answer]]:
    """Read the pictures of a batch, each with its own number, which its figure gets. Returns number, answers.

    Raises UserError where the model cannot be loaded or a figure cannot be written.
    """
    model = None if request.model is None else request.folder / request.model
    recognizer = _load(model, request.mean, request.std, _version(model))
    return number, [_read(recognizer, count, path, request) for count, path in pictures]


def _version(model: Path | None) -> tuple[int, int] | None:
    """What changes when a model file is written again: a cluster's worker outlives many commands."""
    try:
        status = model.stat() if model is not None else None
    except OSError:  # the loader says what is wrong
        return None
    return status and (status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1)
def _load(model: Path | None, mean: float | None, std: float | None, _: tuple[int, int] | None) -> "Recognizer":
    """The network, loaded once in each process."""
    with _without_collection():
        from digit_recognizer.recognition.recognizer import Recognizer

        recognizer = Recognizer.load(model, mean, std)
        if recognizer.uses_pytorch:
            from digit_recognizer.runtime.device import choose_device

            choose_device("cpu", threads=1)
        return recognizer


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the garbage collector from what is made within it, here by imports, and stays until the process ends.

    To look through it takes 0.2 s where torch is imported, and 0.4 s as the process ends.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _read(recognizer: "Recognizer", count: int, path: Path, request: Request) -> Answer:
    source, number = request.folder / path, request.number
    try:
        answer: Any = recognizer.read_number(source) if number else recognizer.predict(source)
    except UserError as error:
        return Answer(str(error), table.unreadable_row(path, error))
    if request.show is not None:
        _save_figure(request.folder / request.show / f"{count:04}_{path.stem}.png", path.name, answer, number)
    if request.as_json:
        line = json.dumps({"file": str(path), **(_number_fields(answer) if number else _digit_fields(answer))})
    else:
        line = _line(path, answer, number, request.width)
    rows = answer.lines if number else (str(answer.digit),)
    notes = (*([answer.doubt] if answer.doubt else []), *answer.warnings)
    return Answer(line, table.make_row(path, rows, answer.confidence, answer.reason, notes))


def _line(path: Path, answer: "Prediction | Number", number: bool, width: int) -> str:
    """File and what was read, a doubt in words; or why there is no digit. Warnings last."""
    name = one_line(path).ljust(width)
    notes = f"  {answer.doubt}" if answer.doubt else ""
    notes += f"  ({'; '.join(answer.warnings)})" if answer.warnings else ""
    if answer.reason is not None:
        hint = "; try --number" if answer.reason == "several digits" else ""
        return f"{name}  -  {answer.reason}{hint}{notes}"
    return f"{name}  {_number(answer) if number else _digit(answer)}{notes}"


def _number(answer: Any) -> str:
    return f"{' / '.join(answer.lines)}  {percent(answer.confidence)} sure of all"


def _digit(prediction: Any) -> str:
    """The digit, and its confidence as a bar and a number."""
    bar = ("#" * round(BAR_LENGTH * prediction.confidence)).ljust(BAR_LENGTH, ".")
    return f"{prediction.digit}  {bar} {percent(prediction.confidence):>6}"


def _number_fields(answer: "Number") -> dict[str, Any]:
    return {
        "number": answer.number,
        "reason": answer.reason,
        "boxes": answer.boxes,
        "rows": answer.rows,
        "numbers": answer.numbers,
        "confidence": round(answer.confidence, 6),
        "digits": [_digit_fields(prediction) for prediction in answer.predictions],
        "warnings": answer.warnings,
    }


def _digit_fields(prediction: "Prediction") -> dict[str, Any]:
    return {
        "digit": prediction.digit,
        "alternatives": prediction.alternatives,
        "confidence": round(prediction.confidence, 6),
        "probabilities": [round(probability, 6) for probability in prediction.probabilities],
        "reason": prediction.reason,
        "warnings": prediction.warnings,
    }


def _save_figure(path: Path, name: str, answer: Any, number: bool) -> None:
    """Draw how a picture was read. name: its title."""
    from digit_recognizer import plots
    from digit_recognizer.recognition import plots as reading_plots

    figure = reading_plots.number(answer, name) if number else reading_plots.digit(answer, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters in the file's name that the font lacks
        plots.save(figure, path)
