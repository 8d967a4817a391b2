"""The table of many pictures, a row each: the CSV file of `digits predict` and the table of the page.

The file is UTF-8 with a byte order mark, without which Excel takes it for Latin-1.
"""

import contextlib
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line

MAX_MB = 1000  # of a file that is continued: some ten million rows
# How the warnings begin where nothing was read: in a picture, in a file that is none.
REFUSED, UNREADABLE = "refused: ", "unreadable: "
BETWEEN_ROWS = " / "
# The start of a formula, at the beginning of a cell or behind a character that some spreadsheets take for a delimiter.
FORMULA = re.compile(r"""((?:^|[,;|])["'\s]*)(?=[=+\-@＝＋－＠])""")


class Row(NamedTuple):
    """What one picture was read as; each cell is text on one line.

    file: the picture's name. read: the digit, or the numbers of a page with " / " between rows. confidence: that all
    of it is right, 0.0000 to 1.0000. Both are empty where nothing was read. warnings: why nothing was read, then what
    was noticed, with "; " between them.
    """

    file: str
    read: str
    confidence: str
    warnings: str

    @property
    def is_unreadable(self) -> bool:
        """Whether the file could not be read as a picture."""
        return not self.read and self.warnings.startswith(UNREADABLE)

    @property
    def number(self) -> str | None:
        """The digit, or all rows of the number one after the other; None where nothing was read."""
        return self.read.replace(BETWEEN_ROWS, "").replace(" ", "") or None


COLUMNS = Row._fields


def make_row(
    name: object, rows: Sequence[str], confidence: float, reason: str | None, warnings: Iterable[str] = ()
) -> Row:
    """The row of a picture. rows: the digit, or the rows of a number. reason: why nothing was read, or None."""
    if reason is not None:
        return Row(_cell(name), "", "", "; ".join([REFUSED + reason, *warnings]))
    return Row(_cell(name), BETWEEN_ROWS.join(rows), f"{confidence:.4f}", "; ".join(warnings))


def unreadable_row(name: object, error: UserError) -> Row:
    """The row of a file that could not be read as a picture."""
    return Row(_cell(name), "", "", UNREADABLE + one_line(error))


def name_in_csv(name: object) -> str:
    """A picture's name as the column `file` of a CSV file has it."""
    return _without_formula(_cell(name))


def to_csv(rows: Iterable[Row]) -> bytes:
    """Return the table as a CSV file. A quote is put in front of whatever a spreadsheet would run as a formula."""
    return "".join(map(_line, [COLUMNS, *rows])).encode("utf-8-sig")


def read_csv(path: Path) -> tuple[list[Row], int]:
    """Return the whole rows of a CSV file, and the bytes up to their end; a last line that was cut off is left out.

    Raises UserError for a file that is not such a table.
    """
    content = files.read(path, MAX_MB, "continue in another file")
    if to_csv([]).startswith(content):  # its first line was cut off
        return [], 0
    size = content.rfind(b"\n") + 1
    try:
        header, *lines = csv.reader(io.StringIO(content[:size].decode("utf-8-sig"), newline=""))
        if tuple(header) != COLUMNS:
            raise ValueError("other columns")
        return [Row(*line) for line in lines], size
    except (ValueError, TypeError, csv.Error) as error:
        columns = ", ".join(COLUMNS)
        text = f"{one_line(path)} is not a table with the columns {columns}; name another file"
        raise UserError(text) from error


@contextlib.contextmanager
def open_csv(path: Path, resume: bool = False) -> Iterator[tuple[list[Row], Callable[[Row], None]]]:
    """Open a CSV file for a run that may be interrupted: (rows, append).

    rows: those that the file holds if it is resumed. append: adds a row at once. Raises UserError where the file holds
    rows and is not resumed, where it is another table, and where it cannot be written.
    """
    # A device or a pipe has no rows to lose.
    rows, size = read_csv(path) if path.is_file() else ([], 0)
    if rows and not resume:
        raise UserError(f"{one_line(path)} exists; add --resume to go on, or name another file")
    with files.open_to_append(path, size) as append:
        if not size:
            append(to_csv([]))
        yield rows, lambda row: append(_line(row).encode())


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([_without_formula(cell) for cell in cells])
    return text.getvalue()


def _without_formula(cell: str) -> str:
    return FORMULA.sub(r"\1'", cell)


def _cell(name: object) -> str:
    """A name on one line, exactly where it can be printed."""
    return str(name) if str(name).isprintable() else one_line(name)
