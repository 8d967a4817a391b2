"""Numbers, tables and strangers' words as people can read them."""

from collections.abc import Sequence


def percent(fraction: float) -> str:
    """A percentage that never rounds to a certainty it is not. fraction: 0 to 1.

    >>> percent(0.9996), percent(0.5), percent(0.0004)
    ('>99.9%', '50.0%', '<0.1%')
    """
    return ">99.9%" if fraction > 0.999 else "<0.1%" if fraction < 0.001 else f"{fraction:.1%}"


def one_line(text: str) -> str:
    """A stranger's text, such as a file's name, on one line, without marks that would turn what follows around."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, one a line, their cells under each other.

    >>> columns([("a", "bc"), ("abc", "d")])
    'a    bc\\nabc  d'
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
