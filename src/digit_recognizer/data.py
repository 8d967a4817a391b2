"""The digits: whole sets in memory as uint8, ink bright, with fixed splits and shuffled batches.

mnist      60,000 + 10,000   torchvision.datasets.MNIST, downloaded when absent, checked by MD5
qmnist     120,000           torchvision.datasets.QMNIST, split at random or with writers kept apart
optdigits  1,797             inside scikit-learn: 8x8 scans, the embedded set that needs no download
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
TITLES = {"mnist": "MNIST", "qmnist": "QMNIST", "optdigits": "optdigits"}
SPLIT_SEED = 0  # of every fixed split, whatever the seed of the run
WRITER_COLUMN = 2  # of QMNIST's extended labels; column 0 is the digit


class Split(NamedTuple):
    """A part of a data set. images: uint8 (n, 28, 28), ink bright; labels: int64 (n,), 0 to 9."""

    images: Tensor
    labels: Tensor

    def take(self, indices: Tensor) -> "Split":
        """The digits at these indices, in this order."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Digits:
    """A data set with its name, which every number and figure made from it carries, and its files' MD5s."""

    name: str
    train: Split
    validation: Split | None
    test: Split
    md5: dict[str, str]

    @property
    def title(self) -> str:
        """The name as it is written in titles."""
        return TITLES[self.name]

    @property
    def held_out(self) -> tuple[str, Split]:
        """What the curve of each epoch is drawn on: the validation part where there is one, else the test part."""
        return ("test", self.test) if self.validation is None else ("validation", self.validation)


def load(
    name: str = "mnist",
    folder: str | Path | None = None,
    *,
    validation: bool = False,
    writers_apart: bool = False,
    fall_back: bool = False,
) -> Digits:
    """Load a data set by name, downloading it first where it is absent.

    folder: where MNIST/raw and QMNIST/raw lie; by default the variable DIGITS_DATA_DIR, else `data`.
    validation: hold out a fixed twelfth of the training part (5,000 of 60,000); QMNIST always has such a part.
    writers_apart: QMNIST only, no writer in two of its parts. fall_back: use optdigits, and say so in one line,
    where the set is neither on disk nor reachable. Raises UserError for an unknown name, damaged files, and,
    without fall_back, a set that cannot be had.
    """
    if name not in TITLES:
        raise UserError(f"unknown data set '{name}'; there are {', '.join(TITLES)}")
    root = Path(folder or os.environ.get("DIGITS_DATA_DIR") or "data")
    try:
        if name == "qmnist":
            return _qmnist(root, writers_apart)
        digits = _mnist(root) if name == "mnist" else _optdigits()
    except download.UnreachableError as error:
        if not fall_back:
            raise UserError(f"{error}; put its files there, or choose their folder with --data-dir") from error
        print(f"{error}; going on with optdigits, the embedded set: its numbers are not {TITLES[name]}'s.")
        digits = _optdigits()
    return _with_validation(digits) if validation else digits


def batches(split: Split, batch_size: int, generator: torch.Generator) -> Iterator[Split]:
    """The split once, shuffled, in batches; the last may be smaller.

    Same batches, draw for draw, as DataLoader(shuffle=True, batch_size=batch_size, generator=generator).
    """
    torch.empty((), dtype=torch.int64).random_(generator=generator)  # DataLoader first draws a seed for its workers
    order = torch.randperm(len(split.labels), generator=generator).to(split.labels.device)
    for indices in order.split(batch_size):
        yield split.take(indices)


def to_pixels(images: Tensor) -> Tensor:
    """uint8 (n, 28, 28) to what networks take: float32 (n, 1, 28, 28) in [0, 1], as torchvision's ToTensor."""
    return images.unsqueeze(1).to(torch.float32).div_(255)


def _mnist(root: Path) -> Digits:
    from torchvision.datasets import MNIST
    from torchvision.datasets.mnist import read_image_file, read_label_file

    folder = root / "MNIST" / "raw"
    addresses = [mirror + MNIST.resources[0][0] for mirror in MNIST.mirrors]
    _make_present(folder, list(MNIST_MD5), lambda into: MNIST(into, download=True), addresses, "MNIST")
    sums = {file: _md5(folder / file) for file in MNIST_MD5}
    for file, expected in MNIST_MD5.items():
        if sums[file] != expected:
            raise UserError(
                f"{folder / file} is damaged (its MD5 is not that of MNIST's {file}); "
                "delete it and run again to download it, or put a good copy there"
            )
    parts = [
        Split(
            read_image_file(folder / f"{part}-images-idx3-ubyte"), read_label_file(folder / f"{part}-labels-idx1-ubyte")
        )
        for part in ("train", "t10k")
    ]
    return Digits("mnist", parts[0], None, parts[1], sums)


def _qmnist(root: Path, writers_apart: bool) -> Digits:
    from torchvision.datasets import QMNIST

    folder = root / "QMNIST" / "raw"
    files = [f"qmnist-{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx2-int")]

    def fetch(into: Path) -> None:
        for what in ("train", "test"):
            QMNIST(into, what=what, download=True)

    _make_present(folder, files, fetch, [QMNIST.resources["train"][0][0]], "QMNIST")
    try:
        parts = [QMNIST(root, what=what, compat=False) for what in ("train", "test")]
        images, labels = (torch.cat([getattr(part, field) for part in parts]) for field in ("data", "targets"))
        digits = labels[:, 0]
        if images.shape != (len(labels), 28, 28) or labels.shape[1] != 8 or digits.min() < 0 or digits.max() > 9:
            raise ValueError("shapes or labels are not QMNIST's")
    except (AssertionError, ValueError, RuntimeError, IndexError, KeyError, TypeError, OSError) as error:
        raise UserError(f"the files in {folder} are damaged ({error}); delete them and run again") from error
    order = _by_writer(labels[:, WRITER_COLUMN]) if writers_apart else _at_random(len(labels))
    train, validation, test = (Split(images[part], digits[part]) for part in order)
    return Digits("qmnist", train, validation, test, {file: _md5(folder / file) for file in files})


def _at_random(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of a fixed random 80, 10 and 10 %."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED))
    return torch.tensor_split(order, (count * 8 // 10, count * 9 // 10))


def _by_writer(writers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of about 80, 10 and 10 %, all digits of a writer in the same part."""
    names, writer, counts = writers.unique(return_inverse=True, return_counts=True)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(SPLIT_SEED))
    part = torch.empty(len(names), dtype=torch.int64)
    # A writer goes where the middle of his digits falls, writers laid end to end in random order.
    middle = counts[order].cumsum(0) - counts[order] / 2
    part[order] = torch.bucketize(middle / len(writers), torch.tensor([0.8, 0.9]))
    return tuple((part[writer] == index).nonzero().flatten() for index in range(3))


def _optdigits() -> Digits:
    from sklearn.datasets import load_digits

    scans = load_digits()
    images = torch.from_numpy(np.stack([as_mnist(scan / 16) for scan in scans.images]))
    labels = torch.from_numpy(scans.target.astype(np.int64))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    both = Split(images, labels)
    md5 = hashlib.md5(images.numpy().tobytes() + labels.numpy().tobytes(), usedforsecurity=False).hexdigest()
    return Digits("optdigits", both.take(order[:1437]), None, both.take(order[1437:]), {"optdigits": md5})


def as_mnist(ink: np.ndarray) -> np.ndarray:
    """A clean scan to 28x28 the way MNIST was made: longest side 20, aspect kept, centre of mass at pixel (14, 14).

    ink: float (height, width), 0 paper to 1 ink, not empty. Returns uint8 (28, 28), ink bright.
    """
    from PIL import Image

    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 20 / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    digit = np.asarray(Image.fromarray(np.uint8(ink * 255 + 0.5)).resize((width, height), Image.Resampling.BICUBIC))
    top, left = (
        int(np.clip(round(14 - (profile @ np.arange(len(profile))) / profile.sum()), 0, 28 - len(profile)))
        for profile in (digit.sum(1, dtype=float), digit.sum(0, dtype=float))
    )
    canvas = np.zeros((28, 28), np.uint8)
    canvas[top : top + height, left : left + width] = digit
    return canvas


def _with_validation(digits: Digits) -> Digits:
    """Hold out a fixed random twelfth of the training part."""
    order = torch.randperm(len(digits.train.labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    count = len(order) // 12
    held_out, kept = order[:count].sort().values, order[count:].sort().values
    return Digits(digits.name, digits.train.take(kept), digits.train.take(held_out), digits.test, digits.md5)


def _make_present(
    folder: Path, files: list[str], fetch: Callable[[Path], object], addresses: list[str], title: str
) -> None:
    """Download what is missing. Raises UserError where the folder is none, UnreachableError where nothing comes."""
    for parent in (folder, *folder.parents):
        if parent.exists() and not parent.is_dir():
            raise UserError(f"{parent} is a file, not a folder; choose another with --data-dir or DIGITS_DATA_DIR")
    missing = [file for file in files if not (folder / file).is_file()]
    if not missing:
        return
    print(f"{title} is not in {folder}; downloading it.", flush=True)
    try:
        download.fetch(fetch, addresses, folder)
    except download.UnreachableError as error:
        where = f"{title} is neither in {folder} ({', '.join(missing)})"
        raise download.UnreachableError(f"{where} nor to be downloaded ({error})") from error


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
