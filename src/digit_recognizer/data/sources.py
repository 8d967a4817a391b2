"""Where the digits come from: the files of MNIST and QMNIST, downloaded where needed, and scikit-learn's scans.

Each function returns the training, validation and test part (images uint8 (n, 28, 28), labels int64 (n,); validation
may be None) and the MD5 of each file it read. Files may be unpacked or .gz; they lie in <root>/<set>/raw or in <root>.
"""

import functools
import gzip
import hashlib
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from digit_recognizer.data import download
from digit_recognizer.data.digits import SPLIT_SEED
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
WRITER_COLUMN = 2  # of QMNIST's extended labels; column 0 is the digit
IDX_TYPES = {b"\0\0\x08": "u1", b"\0\0\x0c": ">i4"}  # the first bytes of an IDX file
QMNIST_FORMS = {"images": ("u1", (28, 28)), "labels": (">i4", (8,))}  # type and shape of one item
MAX_BYTES = 2**27  # of an unpacked file; the largest of MNIST and QMNIST have 47 MB
MISSING = "is missing"

MD5 = dict[str, str]  # of each file, by its name
Part = tuple[Tensor, Tensor]
Parts = tuple[Part, Part | None, Part]


class _File(NamedTuple):
    """A file of a data set. problem: why it cannot be used, if so; else its array and the MD5 of its unpacked bytes."""

    path: Path
    problem: str | None = None
    array: np.ndarray = np.empty(0)
    md5: str = ""


_Files = dict[str, _File]  # by their names


class _DamagedError(Exception):
    """A file does not hold what it should."""


def read(name: str, root: Path) -> tuple[Parts, MD5]:
    """The data set of that name; see the functions below."""
    if name.startswith("qmnist"):
        return qmnist(root, by_writer=name == "qmnist-writers")
    return mnist(root) if name == "mnist" else optdigits()


def mnist(root: Path) -> tuple[Parts, MD5]:
    """MNIST's 60,000 and 10,000 digits, checked by MD5.

    Raises UserError for damaged files that cannot be downloaded again, and UnreachableError for missing ones.
    """
    arrays, md5 = _read_or_download(root, "MNIST", MNIST_MD5, _mnist_archives)
    return (_to_part(*arrays[:2]), None, _to_part(*arrays[2:])), md5


def mnist_on_disk(root: Path) -> tuple[Parts, MD5] | None:
    """The same without downloading: None where a file is missing or damaged."""
    files = _read_all(root, "MNIST", MNIST_MD5)
    if _problems_of(files):
        return None
    arrays = [file.array for file in files.values()]
    return (_to_part(*arrays[:2]), None, _to_part(*arrays[2:])), {name: file.md5 for name, file in files.items()}


def qmnist(root: Path, by_writer: bool = False) -> tuple[Parts, MD5]:
    """QMNIST's 120,000 digits in parts of 80, 10 and 10 %: at random, or each writer in one part only.

    The MD5s of the unpacked files are not known, so files are checked for their format. Raises as mnist does.
    """
    arrays, md5 = _read_or_download(root, "QMNIST", dict.fromkeys(QMNIST_FILES), _qmnist_archives)
    extended = np.concatenate(arrays[1::2])
    images, labels = _to_part(np.concatenate(arrays[::2]), extended[:, 0])
    writers = torch.from_numpy(extended[:, WRITER_COLUMN].astype(np.int64))
    indices = _split_by_writer(writers) if by_writer else _split_at_random(len(labels))
    train, validation, test = ((images[part], labels[part]) for part in indices)
    return (train, validation, test), md5


def optdigits() -> tuple[Parts, MD5]:
    """scikit-learn's 1,797 scans of 8x8 (the test part of UCI's optdigits, by 13 writers) in MNIST's format."""
    from sklearn.datasets import load_digits

    from digit_recognizer.preprocessing import mnist_format  # here, since MNIST does not need SciPy

    scans = load_digits()
    images, labels = _to_part(np.stack([mnist_format.as_mnist(scan / 16) for scan in scans.images]), scans.target)
    md5 = hashlib.md5(images.numpy().tobytes() + labels.numpy().tobytes(), usedforsecurity=False).hexdigest()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    train, test = ((images[part], labels[part]) for part in order.split(1437))
    return (train, None, test), {"optdigits": md5}


def qmnist_is_on_disk(root: Path) -> bool:
    """Whether there is a copy of each file of QMNIST, whole or not."""
    return all(any(path.is_file() for path in _find_paths(root, "QMNIST", name)) for name in QMNIST_FILES)


def _to_part(images: np.ndarray, labels: np.ndarray) -> Part:
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


def _split_at_random(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of a fixed random 80, 10 and 10 %."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED))
    train, validation, test = torch.tensor_split(order, (count * 8 // 10, count * 9 // 10))
    return train, validation, test


def _split_by_writer(writers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of about 80, 10 and 10 %, all digits of a writer in the same part."""
    names, writer, counts = writers.unique(return_inverse=True, return_counts=True)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(SPLIT_SEED))
    part = torch.empty(len(names), dtype=torch.int64)
    # Writers are laid end to end in random order; the middle of a writer's digits decides on the part.
    middle = counts[order].cumsum(0) - counts[order] / 2
    part[order] = torch.bucketize(middle / len(writers), torch.tensor([0.8, 0.9]))
    train, validation, test = ((part[writer] == index).nonzero().flatten() for index in range(3))
    return train, validation, test


def _mnist_archives() -> download.Archives:
    from torchvision.datasets import MNIST  # here, since importing it takes two seconds and 160 MB

    return download.Archives(list(MNIST.mirrors), dict(MNIST.resources))


def _qmnist_archives() -> download.Archives:
    from torchvision.datasets import QMNIST

    resources = [*QMNIST.resources["train"], *QMNIST.resources["test"]]
    mirror = resources[0][0].rpartition("/")[0] + "/"
    return download.Archives([mirror], {address.removeprefix(mirror): md5 for address, md5 in resources})


def _read_or_download(
    root: Path, title: str, known_md5: Mapping[str, str | None], find_archives: Callable[[], download.Archives]
) -> tuple[list[np.ndarray], MD5]:
    """The arrays of all files, in order, and their MD5s. known_md5: None where only the format can be checked."""
    folder = root / title / "raw"
    for parent in (folder, *folder.parents):
        if parent.exists() and not parent.is_dir():
            raise UserError(f"{parent} is a file, not a folder; choose another with --data-dir or DIGITS_DATA_DIR")
    read = functools.partial(_read_all, root, title, known_md5)
    files = read()
    if problems := _problems_of(files):
        _download(title, folder, problems, find_archives(), lambda: _problems_of(read()))
        files = read()
        if problems := _problems_of(files):
            raise UserError(f"the downloaded files of {title} are not the expected ones: {_describe(problems)}")
    download.clear_leftovers(folder)
    return [file.array for file in files.values()], {name: file.md5 for name, file in files.items()}


def _download(
    title: str, folder: Path, problems: _Files, archives: download.Archives, find_problems: Callable[[], _Files]
) -> None:
    """Download the files that have a problem; say what the problem is, and which damaged files are kept."""
    damaged = [file.path for file in problems.values() if file.problem != MISSING]
    absent = not damaged and len(problems) == len(archives.md5)
    stated = f"{title} is not in {folder}" if absent else _describe(problems)
    print(f"{stated}; downloading {'it' if absent or len(problems) == 1 else 'them'}.", flush=True)
    try:
        download.fetch(archives, folder, lambda: {name: file.path for name, file in find_problems().items()})
    except download.UnreachableError as error:
        if damaged:
            raise UserError(f"{stated}; {error}; put good copies into {folder}: {', '.join(problems)}") from error
        message = f"{title} is not in {folder} and cannot be downloaded ({error})"
        raise download.UnreachableError(message, list(problems)) from error
    if damaged:
        print(f"{title} is complete; kept: {', '.join(f'{path}.damaged' for path in damaged)}", flush=True)


def _problems_of(files: _Files) -> _Files:
    return {name: file for name, file in files.items() if file.problem}


def _describe(problems: _Files) -> str:
    return "; ".join(f"{file.path} {file.problem}" for file in problems.values())


def _find_paths(root: Path, title: str, name: str) -> list[Path]:
    """The places of a file, in the order in which they are looked at."""
    return [folder / file for folder in (root / title / "raw", root) for file in (name, f"{name}.gz")]


def _read_all(root: Path, title: str, known_md5: Mapping[str, str | None]) -> _Files:
    files = {name: _read_first(_find_paths(root, title, name), md5) for name, md5 in known_md5.items()}
    names = list(files)
    for pair in (names[:2], names[2:]):  # images and labels
        if len({len(files[name].array) for name in pair if not files[name].problem}) == 2:
            problem = "is damaged (images and labels differ in number)"
            files |= {name: _File(files[name].path, problem) for name in pair}
    return files


def _read_first(paths: list[Path], known_md5: str | None) -> _File:
    """The first good copy of a file; where there is none, what is wrong with the first copy."""
    damaged = []
    for path in filter(Path.is_file, paths):
        try:
            return _read_file(path, known_md5)
        except _DamagedError as error:
            damaged.append(_File(path, f"is damaged ({error})"))
    return damaged[0] if damaged else _File(paths[0], MISSING)


def _read_file(path: Path, known_md5: str | None) -> _File:
    """Read and check a file. Raises _DamagedError."""
    content = _read_bytes(path)
    md5 = hashlib.md5(content.data, usedforsecurity=False).hexdigest()
    if known_md5 and md5 != known_md5:
        raise _DamagedError("its MD5 is not the original's")
    array = _parse_idx(content)
    if not known_md5:
        _validate_qmnist(array, "images" if "images" in path.name else "labels")
    return _File(path, None, array, md5)


def _read_bytes(path: Path) -> np.ndarray:
    """The unpacked bytes, uint8 (n,). Raises _DamagedError."""
    try:
        if path.suffix != ".gz":
            return np.fromfile(path, np.uint8)
        with gzip.open(path) as file:
            return np.frombuffer(bytearray(file.read(MAX_BYTES)), np.uint8)
    except EOFError as error:
        raise _DamagedError("it is cut short") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _DamagedError("it is not a valid gzip file") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _parse_idx(content: np.ndarray) -> np.ndarray:
    """Decode the IDX format: type, number of dimensions, their sizes as big-endian uint32, and the values."""
    try:
        start = 4 + 4 * int(content[3])
        shape = content[4:start].view(">u4").tolist()
        return content[start:].view(IDX_TYPES[content[:3].tobytes()]).reshape(shape)
    except (IndexError, KeyError, ValueError) as error:
        raise _DamagedError("it is not in the IDX format") from error


def _validate_qmnist(array: np.ndarray, kind: str) -> None:
    """Raise _DamagedError unless these are images or extended labels."""
    if (array.dtype, array.shape[1:]) != QMNIST_FORMS[kind] or not len(array):
        raise _DamagedError("its type or shape is not QMNIST's")
    if kind == "labels" and not 0 <= array[:, 0].min() <= array[:, 0].max() <= 9:
        raise _DamagedError("it has labels outside 0 to 9")
