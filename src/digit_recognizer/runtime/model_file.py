"""Plain content and tensors as a file, and back. A file is data: nothing in it is ever run.

Every file of ours holds its format number and a checksum of all else in it. PyTorch's archives have checksums too, but
whoever changes an archive can mend those, and so can a program that means well.
"""

import collections
import hashlib
import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from digit_recognizer.runtime import files
from digit_recognizer.runtime.errors import UserError

FORMAT = 7  # of our files; others are not read
LARGEST = 256  # megabytes that a file may have; the networks here have up to ten
DEEPEST = 20  # containers within containers
MOST = 200_000  # words, tensors and numbers outside of them; half as many as a pickle may have steps
MOST_PARTS = 10_000  # of an archive
MOST_STEPS = 400_000  # of a pickle, which takes seconds; the history of an epoch has about 25
MOST_TUPLES = 20_000  # of a pickle, five for each tensor; tuples within tuples overflow the stack of Python itself
MOST_SIDES = 8  # of a tensor; those of a convolution have four
LEGACY = 5  # pickles, one after the other, in files of PyTorch before 1.6
# What pickles of plain content and tensors consist of; no other step is taken.
STEPS = {
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINSTRING", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND",
    "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL",
    "REDUCE", "BUILD", "BINPERSID",
}  # fmt: skip
# Bytes of one number of each kind.
WIDTHS = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip


def write(path: str | Path, content: dict[str, Any]) -> None:
    """Write plain content and tensors, with format and checksum, atomically.

    Raises UserError where it cannot be written, and for more than LARGEST; the old file survives.
    """
    content = {"format": FORMAT, **content}
    buffer = io.BytesIO()
    try:
        torch.save({**content, "checksum": checksum(content)}, buffer)
        if buffer.tell() > LARGEST * 1_000_000:
            raise ValueError(f"more than {LARGEST} MB")
    except ValueError as error:
        raise UserError(f"cannot write {path}: it would hold {error}, and could not be read again") from error
    files.write_atomically(path, buffer.getvalue())


def read(path: str | Path) -> Any:
    """What is in a file, on the CPU: plain types and dense tensors only, and, where it is ours, what was saved.

    Bare state dicts of other projects have no checksum but that of PyTorch's archive.
    Raises UserError for anything else, and for a file that is damaged, too large, or of another format.
    """
    path = Path(path)
    raw = _bytes(path)
    try:
        look_through(raw)
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
        others = {name: value for name, value in content.items() if name != "checksum"} if is_ours(content) else content
        found = checksum(others)
    except Exception as error:  # whatever a stranger's bytes lead to; weights_only runs none of them
        raise UserError(f"{path} is not a model file, is damaged, or holds more than plain weights") from error
    if is_ours(content):
        _check_format(path, content, found)
    return content


def checksum(content: Any) -> str:
    """SHA-256 over plain content and tensors: equal only where two are equal bit for bit.

    Raises ValueError for what is not plain, for tensors that are not dense, and for what is too deep or too much.
    """
    digest = hashlib.sha256()
    for number, leaf in enumerate(_leaves(content, 0)):
        if number > MOST:  # lists of lists of the same lists would go on for ever
            raise ValueError(f"more than {MOST:,} words and numbers outside of tensors")
        digest.update(leaf)
    return digest.hexdigest()


def _leaves(content: Any, depth: int) -> Iterator[Any]:
    """Bytes that are the same only where the content is: of each part its kind, how much it is, and what."""
    if depth > DEEPEST:
        raise ValueError("what is too deep")
    if isinstance(content, Tensor):
        if content.layout != torch.strided or content.is_meta or content.is_quantized:
            raise ValueError("a tensor that is not dense")
        yield f"{content.dtype} {tuple(content.shape)};".encode()
        yield content.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    elif isinstance(content, Mapping):
        yield f"mapping {len(content)};".encode()
        for name, value in content.items():
            yield from _leaves(name, depth + 1)
            yield from _leaves(value, depth + 1)
    elif type(content) in (list, tuple):
        yield f"{type(content).__name__} {len(content)};".encode()
        for value in content:
            yield from _leaves(value, depth + 1)
    elif content is None or type(content) in (str, int, float, bool):
        yield f"{content!r};".encode()
    else:
        raise ValueError(f"what is not plain, a {type(content).__name__}")


def _bytes(path: Path) -> bytes:
    """All of a file. Raises UserError for what cannot be read, or is larger than a model file may be."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder, not a model file")
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is no ordinary file")
        if path.stat().st_size > LARGEST * 1_000_000:
            raise UserError(f"{path} has more than the {LARGEST} MB that a model file may have; it is not one of ours")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def is_ours(content: Any) -> bool:
    """Whether content that was read is in a format of ours, and not another project's bare state dict."""
    return isinstance(content, Mapping) and "format" in content


def _check_format(path: Path, content: Mapping[str, Any], found: str) -> None:
    """Raise UserError where a file of ours has another format, or its checksum is not that of its content."""
    number = content["format"]
    if type(number) is int and number > FORMAT:
        raise UserError(f"{path} was made by a newer version of this project (format {number}); update it")
    if type(number) is int and 0 < number < FORMAT:
        raise UserError(f"{path} was made by an older version of this project (format {number}); train it again")
    if type(number) is not int or number < 1:
        raise UserError(f"{path} is damaged: there is no such format; take another copy of it")
    if content.get("checksum") != found:
        raise UserError(f"{path} is damaged: its checksum is not that of its content; take another copy of it")


def look_through(content: bytes) -> None:
    """Raise an exception, of whatever kind, unless these are the bytes of plain content and tensors that fit them.

    Archives: whole by their checksums, nothing compressed, no name that leaves the folder or stands there twice.
    Pickles: no step but those of plain content, and no more of them than a model needs. Tensors: dense, each within
    its numbers, and all together no larger than the file.
    """
    if content.startswith(b"PK\x03\x04"):
        parts = _parts(content)
        (name,) = (name for name in parts if name.endswith("/data.pkl"))
        sizes = {part.removeprefix(name.removesuffix("data.pkl") + "data/"): len(kept) for part, kept in parts.items()}
        _look(io.BytesIO(parts[name]), len(content), sizes)
    else:
        file = io.BytesIO(content)
        for _ in range(LEGACY):
            _look(file, len(content), None)


def _parts(content: bytes) -> dict[str, bytes]:
    """The parts of an archive by name."""
    if content.count(b"PK\x01\x02") > MOST_PARTS:  # before they are read: each takes a thousand bytes and more
        raise ValueError("too many parts")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        for entry in entries:
            leaves = entry.filename.startswith("/") or ".." in entry.filename.split("/")
            if leaves or set(entry.orig_filename) & set("\\:\0"):
                raise ValueError("a name leaves the folder")
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise ValueError("a part is compressed or locked")
        if len({name.lower() for name in names}) < len(names):
            raise ValueError("a name stands there twice")
        if sum(entry.file_size for entry in entries) > len(content) or min(entry.header_offset for entry in entries):
            raise ValueError("the parts are not those of this file")
        return {name: archive.read(name) for name in names}  # checks each one's checksum


def _look(file: BinaryIO, most: int, sizes: Mapping[str, int] | None) -> None:
    """Take the next pickle apart. most: bytes of all tensors; sizes: of their numbers by name, if they lie apart."""
    start, tuples = file.tell(), 0
    for number, (step, argument, _) in enumerate(pickletools.genops(file)):
        tuples += step.name.startswith("TUPLE")
        far = step.name == "LONG_BINPUT" and (argument or 0) > MOST_STEPS  # it would make room for so many
        if step.name not in STEPS or number > MOST_STEPS or tuples > MOST_TUPLES or far:
            raise ValueError("a step that plain content does not need")
    file.seek(start)
    _Declared(file, most, sizes).load()


class _Numbers(collections.namedtuple("_Numbers", ["width", "count"])):
    """Stands for the numbers of tensors: how many bytes one takes, and how many there are."""


class _Ordered(dict):
    """Stands for an OrderedDict."""

    def __setstate__(self, state: Any) -> None:
        """Attributes are left out, as checkpoints leave them out."""


class _Declared(pickle.Unpickler):
    """Makes stand-ins of all that a pickle declares, and raises ValueError where it does not fit the file."""

    def __init__(self, file: BinaryIO, most: int, sizes: Mapping[str, int] | None) -> None:
        super().__init__(file, encoding="utf-8")
        self.sizes = sizes
        self.known: set[str] = set()
        self.left = self.left_of_numbers = most  # bytes that may still be asked for

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a class or function of that name; nothing is imported."""
        known: dict[tuple[str, str], Callable] = {
            ("collections", "OrderedDict"): _Ordered,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        return WIDTHS[name] if module == "torch" else known[module, name]

    def persistent_load(self, declared: tuple) -> _Numbers:
        """The numbers of tensors that this names: how they are kept, by what name, where, and how many."""
        kind, width, name, _, count, *view = declared
        if kind != "storage" or any(part is not None for part in view) or type(count) is not int or count < 0:
            raise ValueError("numbers of an unknown kind")
        if self.sizes is None and name not in self.known:  # they follow after the pickles
            self.known.add(name)
            self.left_of_numbers -= width * count
        if self.left_of_numbers < 0 or (self.sizes is not None and self.sizes[name] != width * count):
            raise ValueError("not so many numbers are there")
        return _Numbers(width, count)

    def _tensor(self, numbers: _Numbers, start: int, shape: tuple, steps: tuple, *_: Any) -> None:
        wrong = any(type(value) is not int or value < 0 for value in (start, *shape, *steps))
        if wrong or len(shape) != len(steps) or len(shape) > MOST_SIDES:
            raise ValueError("no such tensor can be")
        last = start + sum((side - 1) * step for side, step in zip(shape, steps, strict=True))
        if math.prod(shape) and last >= numbers.count:
            raise ValueError("a tensor reaches beyond its numbers")
        self.left -= numbers.width * math.prod(shape)
        if self.left < 0:
            raise ValueError("the tensors are larger than the file")
