"""Where the digits come from: files of MNIST's format, fetched where absent or damaged, and scikit-learn's scans."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from digit_recognizer.data import download
from digit_recognizer.runtime.errors import UserError

# Of the unpacked files; the originals of Y. LeCun, C. Cortes and C. J. C. Burges.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
QMNIST_FILES = tuple(
    f"qmnist-{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx2-int")
)
MISSING = "is missing"

MD5 = dict[str, str]  # of each file by its name
Complaints = dict[str, str]  # what is wrong with a file, by its name; whole ones are not in it


class _Damaged(Exception):
    """A file does not hold what it should."""


def mnist(root: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], MD5]:
    """The 60,000 and the 10,000 of root/MNIST/raw, each as uint8 (n, 28, 28) and int64 (n,), and the MD5s.

    A file that is not MNIST's to the bit is fetched again. Raises UserError where that cannot be, UnreachableError
    where a file is missing and not to be had.
    """
    folder = root / "MNIST" / "raw"
    _make_whole(folder, "MNIST", _complaints_of_mnist, _mnist_archives)
    # Read without torchvision, whose import costs two seconds and 160 MB; after the MD5s, nothing is left to check.
    train, test = (
        (
            torch.from_numpy(
                np.fromfile(folder / f"{part}-images-idx3-ubyte", np.uint8, offset=16).reshape(-1, 28, 28)
            ),
            torch.from_numpy(np.fromfile(folder / f"{part}-labels-idx1-ubyte", np.uint8, offset=8)).long(),
        )
        for part in ("train", "t10k")
    )
    return train, test, dict(MNIST_MD5)


def qmnist(root: Path) -> tuple[Tensor, Tensor, MD5]:
    """All digits of root/QMNIST/raw, train before test, as uint8 (n, 28, 28), with their extended labels and the MD5s.

    The extended labels are int64 (n, 8); column 0 is the digit, column 2 the writer. The MD5s of the unpacked files
    are not known here: what is downloaded is checked packed, what was put there for its form. Raises as mnist does.
    """
    folder = root / "QMNIST" / "raw"
    _make_whole(folder, "QMNIST", _complaints_of_qmnist, _qmnist_archives)
    parts = [_read_qmnist(folder / file) for file in QMNIST_FILES]
    images, labels = torch.cat(parts[::2]), torch.cat(parts[1::2]).long()
    return images, labels, {file: _md5(folder / file) for file in QMNIST_FILES}


def optdigits() -> tuple[Tensor, Tensor, MD5]:
    """scikit-learn's 1,797 scans of 8x8 (the test part of UCI's optdigits, by 13 writers) as MNIST has its digits.

    Returns uint8 (1797, 28, 28), int64 (1797,) and the MD5 of both.
    """
    from sklearn.datasets import load_digits

    from digit_recognizer.preprocessing import (
        mnist_format,  # here, since scikit-image takes its time and MNIST does not need it
    )

    scans = load_digits()
    digits = np.stack([mnist_format.as_mnist(scan / 16) for scan in scans.images])
    labels = scans.target.astype(np.int64)
    md5 = hashlib.md5(digits.tobytes() + labels.tobytes(), usedforsecurity=False).hexdigest()
    return torch.from_numpy(digits), torch.from_numpy(labels), {"optdigits": md5}


def _mnist_archives() -> download.Archives:
    from torchvision.datasets import MNIST

    return {Path(name).stem: ([mirror + name for mirror in MNIST.mirrors], md5) for name, md5 in MNIST.resources}


def _qmnist_archives() -> download.Archives:
    from torchvision.datasets import QMNIST

    resources = QMNIST.resources["train"] + QMNIST.resources["test"]
    return {Path(address).stem: ([address], md5) for address, md5 in resources}


def _make_whole(
    folder: Path, title: str, complaints: Callable[[Path], Complaints], archives: Callable[[], download.Archives]
) -> None:
    """Fetch what is missing or damaged, and say so. Raises as mnist does, and UserError where the folder is none."""
    for parent in (folder, *folder.parents):
        if parent.exists() and not parent.is_dir():
            raise UserError(f"{parent} is a file, not a folder; choose another with --data-dir or DIGITS_DATA_DIR")
    found = complaints(folder)
    if not found:
        download.clear_away(folder)
        return
    damaged = [file for file, complaint in found.items() if complaint != MISSING]
    known = archives()
    absent = not damaged and len(found) == len(known)
    listed = "; ".join(f"{folder / file} {complaint}" for file, complaint in found.items())
    said = f"{title} is not in {folder}" if absent else listed
    print(f"{said}; downloading {'it' if absent or len(found) == 1 else 'them'}.", flush=True)
    try:
        download.fetch(known, folder, complaints)
    except download.UnreachableError as error:
        if damaged:
            wanted = ", ".join(found)
            line = f"{said}; not to be downloaded ({error}), and left as it was; put good copies there: {wanted}"
            raise UserError(line) from error
        where = f"{title} is neither in {folder} nor to be downloaded ({error})"
        raise download.UnreachableError(where, list(found)) from error
    if damaged:
        kept = ", ".join(f"{file}.damaged" for file in damaged)
        print(f"{title} is whole again; kept in {folder}: {kept}", flush=True)


def _complaints_of_mnist(folder: Path) -> Complaints:
    found = {}
    for file, md5 in MNIST_MD5.items():
        if not (folder / file).is_file():
            found[file] = MISSING
        elif _md5(folder / file) != md5:
            found[file] = "is damaged (its MD5 is not that of MNIST's)"
    return found


def _complaints_of_qmnist(folder: Path) -> Complaints:
    found, counts = {}, {}
    for file in QMNIST_FILES:
        try:
            counts[file] = len(_read_qmnist(folder / file)) if (folder / file).is_file() else None
        except _Damaged as error:
            found[file] = f"is damaged ({error})"
    found |= {file: MISSING for file, count in counts.items() if count is None}
    for pair in (QMNIST_FILES[:2], QMNIST_FILES[2:]):
        if len({counts.get(file) for file in pair} - {None}) == 2:
            found |= dict.fromkeys(pair, "is damaged (images and labels are not equally many)")
    return found


def _read_qmnist(path: Path) -> Tensor:
    """Images as uint8 (n, 28, 28), or extended labels as int32 (n, 8). Raises _Damaged."""
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    try:
        numbers = read_sn3_pascalvincent_tensor(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (AssertionError, ValueError, RuntimeError, IndexError, KeyError, TypeError) as error:
        raise _Damaged("not the format of QMNIST") from error
    form = (torch.uint8, (28, 28)) if "images" in path.name else (torch.int32, (8,))
    if (numbers.dtype, tuple(numbers.shape[1:])) != form or not len(numbers):
        raise _Damaged("not the shape of QMNIST's")
    if "labels" in path.name and (numbers[:, 0].min() < 0 or numbers[:, 0].max() > 9):
        raise _Damaged("there are labels beyond 0 to 9")
    return numbers


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
