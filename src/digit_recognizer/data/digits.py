"""The digits: whole sets in memory as uint8, ink bright, with fixed splits and shuffled batches.

mnist            60,000 + 10,000   torchvision.datasets.MNIST, downloaded when absent or damaged, checked by MD5
qmnist           120,000           torchvision.datasets.QMNIST, split at random
qmnist-writers   120,000           the same digits, no writer in two of the parts
optdigits        1,797             inside scikit-learn: 8x8 scans, the embedded set that needs no download
"""

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from digit_recognizer.data import download, sources
from digit_recognizer.runtime import distributed
from digit_recognizer.runtime.errors import UserError

TITLES = {
    "mnist": "MNIST",
    "qmnist": "QMNIST",
    "qmnist-writers": "QMNIST with writers apart",
    "optdigits": "optdigits",
}
SPLIT_SEED = 0  # of every fixed split, whatever the seed of the run
WRITER_COLUMN = 2  # of QMNIST's extended labels


class Split(NamedTuple):
    """A part of a data set. images: uint8 (n, 28, 28), ink bright; labels: int64 (n,), 0 to 9."""

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
        """What the curve of each epoch is drawn on: the validation part where there is one, else the test part."""
        return ("test", self.test) if self.validation is None else ("validation", self.validation)


def load(
    name: str = "mnist",
    folder: str | Path | None = None,
    *,
    validation: bool = False,
    fall_back: bool = False,
) -> Digits:
    """Load a data set by name, downloading it first where it is absent or damaged.

    folder: where MNIST/raw and QMNIST/raw lie; by default the variable DIGITS_DATA_DIR, else `data`.
    validation: hold out a fixed twelfth of the training part (5,000 of 60,000); QMNIST always has such a part.
    fall_back: use optdigits, and say so in one line, where the set is neither on disk nor reachable. Raises UserError
    for an unknown name, damaged files that cannot be had anew, and, without fall_back, a set that cannot be had. Of
    several processes, one on each machine downloads, and what one cannot have none takes.
    """
    if name not in TITLES:
        raise UserError(f"unknown data set '{name}'; there are {', '.join(TITLES)}")
    root = root_of(folder)
    try:
        if name.startswith("qmnist"):
            return distributed.local_main_process_first(functools.partial(_qmnist, root, name))
        digits = distributed.local_main_process_first(functools.partial(_mnist, root)) if name == "mnist" else _optdigits()
    except download.UnreachableError as error:
        if not fall_back:
            raise UserError(f"{error}; put there what is missing: {', '.join(error.files)}") from error
        print(f"{error}; going on with optdigits, the embedded set: its numbers are not {TITLES[name]}'s.")
        digits = _optdigits()
    return _with_validation(digits) if validation else digits


def root_of(folder: str | Path | None = None) -> Path:
    """The folder in which MNIST/raw and QMNIST/raw lie; see load."""
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


def _mnist(root: Path) -> Digits:
    train, test, md5 = sources.mnist(root)
    return Digits("mnist", Split(*train), None, Split(*test), md5)


def _qmnist(root: Path, name: str) -> Digits:
    images, labels, md5 = sources.qmnist(root)
    parts = _by_writer(labels[:, WRITER_COLUMN]) if name == "qmnist-writers" else _at_random(len(labels))
    train, validation, test = (Split(images[part], labels[part, 0]) for part in parts)
    return Digits(name, train, validation, test, md5)


def _optdigits() -> Digits:
    images, labels, md5 = sources.optdigits()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    train, test = (Split(images[part], labels[part]) for part in order.split(1437))
    return Digits("optdigits", train, None, test, md5)


def _at_random(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of a fixed random 80, 10 and 10 %."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED))
    train, validation, test = torch.tensor_split(order, (count * 8 // 10, count * 9 // 10))
    return train, validation, test


def _by_writer(writers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of about 80, 10 and 10 %, all digits of a writer in the same part."""
    names, writer, counts = writers.unique(return_inverse=True, return_counts=True)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(SPLIT_SEED))
    part = torch.empty(len(names), dtype=torch.int64)
    # A writer goes where the middle of his digits falls, writers laid end to end in random order.
    middle = counts[order].cumsum(0) - counts[order] / 2
    part[order] = torch.bucketize(middle / len(writers), torch.tensor([0.8, 0.9]))
    train, validation, test = ((part[writer] == index).nonzero().flatten() for index in range(3))
    return train, validation, test


def _with_validation(digits: Digits) -> Digits:
    """Hold out a fixed random twelfth of the training part."""
    order = torch.randperm(len(digits.train.labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    count = len(order) // 12
    held_out, kept = order[:count].sort().values, order[count:].sort().values
    return Digits(digits.name, digits.train.take(kept), digits.train.take(held_out), digits.test, digits.md5)
