"""Where the digits come from: files of MNIST's format, fetched where they are absent, and scikit-learn's scans."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from digit_recognizer import download
from digit_recognizer.errors import UserError

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

MD5 = dict[str, str]  # of each file by its name


def mnist(root: Path) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], MD5]:
    """The 60,000 and the 10,000 of root/MNIST/raw, each as uint8 (n, 28, 28) and int64 (n,), and the MD5s.

    Raises UserError for a file that is not MNIST's to the bit, UnreachableError where there is none to be had.
    """
    folder = root / "MNIST" / "raw"
    _make_present(folder, tuple(MNIST_MD5), _fetch_mnist, "MNIST")
    sums = {file: _md5(folder / file) for file in MNIST_MD5}
    for file, expected in MNIST_MD5.items():
        if sums[file] != expected:
            raise UserError(
                f"{folder / file} is damaged (its MD5 is not that of MNIST's {file}); "
                "delete it and run again to download it, or put a good copy there"
            )
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
    return train, test, sums


def qmnist(root: Path) -> tuple[Tensor, Tensor, MD5]:
    """All digits of root/QMNIST/raw, train before test, as uint8 (n, 28, 28), with their extended labels and the MD5s.

    The extended labels are int64 (n, 8); column 0 is the digit, column 2 the writer. torchvision checks what it
    downloads; files that were put there are checked for their shape. Raises as mnist does.
    """
    from torchvision.datasets import QMNIST

    folder = root / "QMNIST" / "raw"
    _make_present(folder, QMNIST_FILES, _fetch_qmnist, "QMNIST")
    try:
        parts = [QMNIST(root, what=what, compat=False) for what in ("train", "test")]
        if any(part.data.shape != (len(part.targets), 28, 28) or part.targets.shape[1] != 8 for part in parts):
            raise ValueError("their shapes do not match")
        images, labels = (torch.cat([getattr(part, field) for part in parts]) for field in ("data", "targets"))
        if labels[:, 0].min() < 0 or labels[:, 0].max() > 9:
            raise ValueError("there are labels beyond 0 to 9")
    except (AssertionError, ValueError, RuntimeError, IndexError, KeyError, TypeError, OSError) as error:
        reason = str(error) or "not the format of QMNIST"
        raise UserError(f"the files in {folder} are damaged ({reason}); delete them and run again") from error
    return images, labels, {file: _md5(folder / file) for file in QMNIST_FILES}


def optdigits() -> tuple[Tensor, Tensor, MD5]:
    """scikit-learn's 1,797 scans of 8x8 (the test part of UCI's optdigits, by 13 writers) as MNIST has its digits.

    Returns uint8 (1797, 28, 28), int64 (1797,) and the MD5 of both.
    """
    from sklearn.datasets import load_digits

    from digit_recognizer import images  # here, since scikit-image takes its time and MNIST does not need it

    scans = load_digits()
    digits = np.stack([images.as_mnist(scan / 16) for scan in scans.images])
    labels = scans.target.astype(np.int64)
    md5 = hashlib.md5(digits.tobytes() + labels.tobytes(), usedforsecurity=False).hexdigest()
    return torch.from_numpy(digits), torch.from_numpy(labels), {"optdigits": md5}


def _fetch_mnist(folder: Path) -> None:
    from torchvision.datasets import MNIST

    addresses = [mirror + MNIST.resources[0][0] for mirror in MNIST.mirrors]
    download.fetch(lambda into: MNIST(into, download=True), addresses, folder)


def _fetch_qmnist(folder: Path) -> None:
    from torchvision.datasets import QMNIST

    def both(into: Path) -> None:
        for what in ("train", "test"):
            QMNIST(into, what=what, download=True)

    download.fetch(both, [QMNIST.resources["train"][0][0]], folder)


def _make_present(folder: Path, files: tuple[str, ...], fetch: Callable[[Path], None], title: str) -> None:
    """Download what is missing. Raises UserError where the folder is none, UnreachableError where nothing comes."""
    for parent in (folder, *folder.parents):
        if parent.exists() and not parent.is_dir():
            raise UserError(f"{parent} is a file, not a folder; choose another with --data-dir or DIGITS_DATA_DIR")
    missing = [file for file in files if not (folder / file).is_file()]
    if not missing:
        return
    print(f"{title} is not in {folder}; downloading it.", flush=True)
    try:
        fetch(folder)
    except download.UnreachableError as error:
        where = f"{title} is neither in {folder} nor to be downloaded ({error})"
        raise download.UnreachableError(where, missing) from error


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
