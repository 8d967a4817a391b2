"""The digits: whole sets in memory as uint8, foreground bright, with fixed splits and shuffled batches.

mnist            60,000 + 10,000   the files of torchvision.datasets.MNIST, checked by MD5
qmnist           120,000           the files of torchvision.datasets.QMNIST, split at random
qmnist-writers   120,000           the same digits, each writer in one part only
optdigits        1,797             8x8 scans in scikit-learn: the embedded set, which needs no download
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from digit_recognizer.runtime.errors import UserError

TITLES = {
    "mnist": "MNIST",
    "qmnist": "QMNIST",
    "qmnist-writers": "QMNIST with writers apart",
    "optdigits": "optdigits",
}
TEST_SETS = {  # see test_sets
    "mnist-undisputed": "MNIST without disputed labels",
    "hwd-1000": "hwd-1000",
    "optdigits-original": "optdigits-original",
    "mnist-c": "MNIST damaged as in MNIST-C",
}
SPLIT_SEED = 0  # of every fixed split, whatever the seed of the run


class Split(NamedTuple):
    """A part of a data set. images: uint8 (n, 28, 28), foreground bright; labels: int64 (n,), 0 to 9.

    Where a network has fixed filters, images are their maps: see fixed_filters.apply_fixed.
    """

    images: Tensor
    labels: Tensor

    def take(self, indices: Tensor) -> "Split":
        """The digits at these indices, in this order."""
        return Split(self.images.index_select(0, indices), self.labels.index_select(0, indices))


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
        """What is scored after each epoch: the validation part where there is one, else the test part."""
        return ("test", self.test) if self.validation is None else ("validation", self.validation)


def load(
    name: str = "mnist", folder: str | Path | None = None, *, validation: bool = False, fall_back: bool = False
) -> Digits:
    """Load a data set by name, downloading it first where it is absent or damaged.

    folder: the data folder, with the files in it or in MNIST/raw and QMNIST/raw, unpacked or .gz; by default the
    variable DIGITS_DATA_DIR, else `data`. validation: hold out a fixed twelfth of the training part (5,000 of 60,000);
    QMNIST always has a validation part. fall_back: use optdigits, and say so in one line, where the set is neither on
    disk nor reachable. Of several processes, one on each machine downloads.
    Raises UserError for an unknown name, for damaged files that cannot be downloaded again and, without fall_back, for
    a set that cannot be downloaded.
    """
    from digit_recognizer.data import download, sources  # here: training on arrays that are there needs neither

    if name in TEST_SETS:
        raise UserError(f"{name} is for `digits evaluate` alone; to train on, there are {', '.join(TITLES)}")
    if name not in TITLES:
        raise UserError(f"unknown data set '{name}'; there are {', '.join(TITLES)}")
    try:
        parts, md5 = sources.read(name, root_of(folder))
    except download.UnreachableError as error:
        if not fall_back:
            names = ", ".join(error.files)
            raise UserError(f"{error}; put the missing files there, as .gz or unpacked: {names}") from error
        print(f"{error}; using optdigits, the embedded set: its numbers are not {TITLES[name]}'s.")
        name, (parts, md5) = "optdigits", sources.optdigits()
    train, held_out, test = parts
    digits = Digits(name, Split(*train), Split(*held_out) if held_out else None, Split(*test), md5)
    return _with_validation(digits) if validation and not held_out else digits


def load_from_disk(folder: str | Path | None = None, *, validation: bool = False) -> Digits | None:
    """MNIST as load loads it, without downloading: None where a file of it is missing or damaged."""
    from digit_recognizer.data import sources

    if (found := sources.mnist_on_disk(root_of(folder))) is None:
        return None
    (train, _, test), md5 = found
    digits = Digits("mnist", Split(*train), None, Split(*test), md5)
    return _with_validation(digits) if validation else digits


def root_of(folder: str | Path | None = None) -> Path:
    """The data folder; see load."""
    return Path(folder or os.environ.get("DIGITS_DATA_DIR") or "data")


def batches(split: Split, batch_size: int, generator: torch.Generator) -> Iterator[Split]:
    """The split once, shuffled, in batches; the last may be smaller.

    Same batches, draw for draw, as DataLoader(shuffle=True, batch_size=batch_size, generator=generator).
    """
    torch.empty((), dtype=torch.int64).random_(generator=generator)  # DataLoader first draws a seed for its workers
    order = torch.randperm(len(split.labels), generator=generator).to(split.labels.device)
    torch.randperm(len(split.labels), generator=generator)  # its sampler ends each epoch with a draw that it discards
    for indices in order.split(batch_size):
        yield split.take(indices)


def to_pixels(images: Tensor) -> Tensor:
    """uint8 (n, 28, 28) to what networks take: float32 (n, 1, 28, 28) in [0, 1], as torchvision's ToTensor."""
    return images.unsqueeze(1).to(torch.float32).div_(255)


def _with_validation(digits: Digits) -> Digits:
    """Hold out a fixed random twelfth of the training part."""
    order = torch.randperm(len(digits.train.labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    count = len(order) // 12
    held_out, kept = order[:count].sort().values, order[count:].sort().values
    return Digits(digits.name, digits.train.take(kept), digits.train.take(held_out), digits.test, digits.md5)
