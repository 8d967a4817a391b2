"""Format numbers and tables as text, and any text as one line."""

from collections.abc import Sequence


def percent(fraction: float) -> str:
    """Format a fraction, 0 to 1, as a percentage that is not rounded to 0% or 100%.

    >>> percent(0.9996), percent(0.5), percent(0.0004)
    ('>99.9%', '50.0%', '<0.1%')
    """
    return ">99.9%" if fraction > 0.999 else "<0.1%" if fraction < 0.001 else f"{fraction:.1%}"


def one_line(text: object) -> str:
    """Put text, such as a file's name, on one line; "?" stands for control, bidirectional and invalid characters.

    >>> one_line("two\\nlines\\x1b[2J")
    'two lines?[2J'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(text).split()))


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Format rows as lines of text with aligned cells.

    >>> columns([("a", "bc"), ("abc", "d")])
    'a    bc\\nabc  d'
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
