"""Which networks the web page offers: the models of one folder, and nothing outside it. Knows nothing of Streamlit."""

from pathlib import Path

SHIPPED = "the network that comes with this program"
Identity = tuple[int, int, int]  # inode, bytes and time of a file: it is read again once one of these has changed


def offered(folder: Path) -> dict[str, Path | None]:
    """What a visitor may choose from, by name, as paths without links; None is the network of the package.

    Left out: hidden files, what is no ordinary file, links that lead out of the folder, names that cannot be shown.
    """
    found = {path.name: _inside(folder, path) for path in sorted(folder.glob("*.pth"))}
    return {SHIPPED: None} | {name: path for name, path in found.items() if path and _may_be_shown(name)}


def identity(path: Path | None) -> Identity | None:
    """What tells a file from one that has taken its place; None for the network of the package. May raise OSError."""
    if path is None:
        return None
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _inside(folder: Path, path: Path) -> Path | None:
    """Where the file truly lies; None where that is outside the folder, or it is a pipe, a socket, a folder ..."""
    try:
        target = path.resolve(strict=True)
        return target if target.is_relative_to(folder.resolve()) and target.is_file() else None
    except (OSError, RuntimeError):  # a link to nothing, or in a circle
        return None


def _may_be_shown(name: str) -> bool:
    """Not hidden, and without line ends, marks that turn text around, and bytes that are no text."""
    return name.isprintable() and not name.startswith(".")
