"""Read picture files, one line each, write a table of them, and score them where their labels are known."""

import contextlib
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from digit_recognizer.cli import answers, labelled_files
from digit_recognizer.cli.answers import Answer, Request
from digit_recognizer.cli.labelled_files import Labelled
from digit_recognizer.cli.parser import fail
from digit_recognizer.recognition import table
from digit_recognizer.recognition.table import Row
from digit_recognizer.runtime import files, packages
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line

BATCH = 8  # pictures that a worker gets at a time, about a third of a second
MIN_BATCHES = 16  # with fewer, some workers would wait for the last one


def run(
    names: Sequence[str],
    request: Request,
    csv: str | None = None,
    resume: bool = False,
    workers: int | None = None,
    backend: str | None = None,
    scheduler: str | None = None,
) -> int:
    """Read each picture of these files, folders and patterns, and print a line for each.

    csv: a file that gets a row for each picture, as soon as it and all before it are read. resume: skip the pictures
    that have a row there. workers, backend, scheduler: see executors.open_executor; without any of them, this process
    reads. Returns the exit status: 1 where some could not be read. Raises UserError where none could.
    """
    if resume and csv is None:
        raise UserError("--resume goes on with the table of --csv FILE; name that file")
    if request.show is not None:
        packages.require("matplotlib")
        files.check_writable(request.show)
    if (workers, backend, scheduler) != (None, None, None):
        from digit_recognizer.study import executors

        executors.validate(backend or "local", scheduler, workers)
    pictures = labelled_files.collect(names)
    request = request._replace(width=max(len(one_line(picture.path)) for picture in pictures))
    tqdm.set_lock(threading.RLock())  # its own is shared by processes
    with _open_table(csv, resume) as (finished, append):
        rows = _match(pictures, finished)
        if finished:
            print(f"{len(rows)} of {len(pictures)} pictures are in {one_line(csv)} already", file=sys.stderr)
        missing = [(number, picture.path) for number, picture in enumerate(pictures, start=1) if number not in rows]
        with (
            contextlib.closing(_read(missing, request, workers, backend, scheduler)) as read,
            tqdm(total=len(pictures), initial=len(rows), unit="picture", leave=False,
                 disable=None if len(missing) > 1 else True) as bar,
        ):  # fmt: skip
            for (number, _), answer in zip(missing, read, strict=True):
                append(answer.row)
                rows[number] = answer.row
                if answer.row.is_unreadable and len(pictures) == 1:
                    raise UserError(answer.line)
                with tqdm.external_write_mode():
                    fail(answer.line) if answer.row.is_unreadable else print(answer.line, flush=True)
                bar.update()
    return _report(pictures, rows, request.as_json)


def _open_table(
    csv: str | None, resume: bool
) -> contextlib.AbstractContextManager[tuple[list[Row], Callable[[Row], None]]]:
    """See table.open_csv; without a file, nothing is there and nothing is written."""
    return contextlib.nullcontext(([], lambda row: None)) if csv is None else table.open_csv(Path(csv), resume)


def _match(pictures: Sequence[Labelled], finished: Iterable[Row]) -> dict[int, Row]:
    """The rows of these pictures, by their numbers from 1. Of several with one name the first rows are the first's."""
    by_name: dict[str, list[Row]] = {}
    for row in finished:
        by_name.setdefault(row.file, []).append(row)
    rows = {}
    for number, picture in enumerate(pictures, start=1):
        if waiting := by_name.get(table.name_in_csv(picture.path)):
            rows[number] = waiting.pop(0)
    return rows


def _read(
    missing: Sequence[tuple[int, Path]],
    request: Request,
    workers: int | None,
    backend: str | None,
    scheduler: str | None,
) -> Generator[Answer, None, None]:
    """Yield the answers to pictures, each with its number, in their order."""
    if (workers, backend, scheduler) == (None, None, None):
        for picture in missing:
            yield from answers.read_batch(0, [picture], request)[1]
    elif missing:
        from digit_recognizer.study import executors

        size = max(1, min(BATCH, len(missing) // MIN_BATCHES))
        batches = [missing[start : start + size] for start in range(0, len(missing), size)]
        if scheduler is not None:
            request = request._replace(folder=Path.cwd())  # a cluster's workers stand elsewhere
        workers = workers and min(workers, len(batches))
        with executors.open_executor(backend or "local", scheduler, workers) as executor:
            jobs = [(number, batch, request) for number, batch in enumerate(batches)]
            for batch_answers in _in_order(executor(answers.read_batch, jobs)):
                yield from batch_answers


def _in_order(results: Iterable[tuple[int, list[Answer]]]) -> Iterator[list[Answer]]:
    """Yield what comes with the numbers 0, 1, 2 ... in any order, in the order of these numbers."""
    waiting: dict[int, list[Answer]] = {}
    following = 0
    for number, batch_answers in results:
        waiting[number] = batch_answers
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def _report(pictures: Sequence[Labelled], rows: Mapping[int, Row], as_json: bool) -> int:
    """Print the score, and which folders have none. Returns the exit status. Raises UserError where all failed."""
    scored = [
        (picture, labelled_files.UNREADABLE if rows[number].is_unreadable else rows[number].number)
        for number, picture in enumerate(pictures, start=1)
        if picture.label is not None
    ]
    if scored and not as_json:
        print("\n".join(labelled_files.report(scored)))
    for unlabelled in dict.fromkeys(picture.unlabelled for picture in pictures if picture.unlabelled is not None):
        folder, name = one_line(unlabelled.parent), one_line(unlabelled.name)
        print(f"{folder} is not scored: {name} does not begin with a digit or its English name", file=sys.stderr)
    failed = sum(row.is_unreadable for row in rows.values())
    if failed == len(pictures):
        raise UserError(f"none of the {failed} pictures could be read")
    return 1 if failed else 0
