"""The models that the page offers: those of one folder, and nothing outside it. Independent of Streamlit."""

from pathlib import Path

FOLDER_VARIABLE = "DIGITS_MODELS_DIR"  # the environment variable through which the server tells the page the folder
SHIPPED = "the network that comes with this program"
Identity = tuple[int, int, int]  # inode, size in bytes and modification time of a file, in nanoseconds


def find_models(folder: Path) -> dict[str, Path | None]:
    """Return the models that a visitor may choose, by name, as paths without links; None is the package's network.

    Left out are hidden files, anything but regular files, links out of the folder, and names that cannot be shown.
    """
    found = {path.name: _resolve_inside(folder, path) for path in sorted(folder.glob("*.pth"))}
    return {SHIPPED: None} | {name: path for name, path in found.items() if path and _can_be_shown(name)}


def identity(path: Path | None) -> Identity | None:
    """Return what changes when a file is replaced; None for the package's network. Raises OSError."""
    if path is None:
        return None
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _resolve_inside(folder: Path, path: Path) -> Path | None:
    """Return the path with its links followed; None if it leads out of the folder or is not a regular file."""
    try:
        target = path.resolve(strict=True)
        return target if target.is_relative_to(folder.resolve()) and target.is_file() else None
    except (OSError, RuntimeError):  # a broken or a circular link
        return None


def _can_be_shown(name: str) -> bool:
    """Return whether a name is not hidden and has no line breaks, direction marks or undecodable bytes."""
    return name.isprintable() and not name.startswith(".")
