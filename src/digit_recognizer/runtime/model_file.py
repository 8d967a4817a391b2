"""Write plain types and tensors to a file and read them back. A file is data: nothing in it is ever run.

Our files hold a format number and a checksum of their content. The checksums of PyTorch's archives are not enough: a
program that changes an archive writes new ones. torch.load(weights_only=True) runs no code, but it reserves whatever
memory a file asks for, follows any depth, and verifies nothing. So the bytes are inspected before PyTorch reads them.
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

FORMAT = 7  # of our files; no other is read
ACCEPTED = "save its weights alone: torch.save(model.state_dict(), path)"
MAX_FILE_MB = 256  # of a model file; the networks here have up to 10
MAX_DEPTH = 20  # of nested containers
MAX_LEAVES = 200_000  # strings, numbers and tensors; half of what a pickle may have in opcodes
MAX_ARCHIVE_ENTRIES = 10_000
MAX_OPCODES = 400_000  # of a pickle, read in seconds; the metrics of an epoch have about 25
MAX_TUPLES = 20_000  # of a pickle, five for each tensor; deeply nested tuples overflow Python's own stack
MAX_DIMENSIONS = 8  # of a tensor; convolutions have four
LEGACY_PICKLES = 5  # in a row, in files of PyTorch before 1.6
# The opcodes of pickles of plain types and tensors; no other is executed.
OPCODES = {
    "PROTO", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "BINUNICODE", "SHORT_BINSTRING", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND",
    "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL",
    "REDUCE", "BUILD", "BINPERSID",
}  # fmt: skip
# Bytes of an element of each storage type.
ELEMENT_SIZES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip


def write(path: str | Path, content: dict[str, Any]) -> None:
    """Write plain types and tensors, with format and checksum, atomically.

    Raises UserError where it cannot be written or would exceed MAX_FILE_MB; the old file survives.
    """
    content = {"format": FORMAT, **content}
    buffer = io.BytesIO()
    try:
        torch.save({**content, "checksum": checksum(content)}, buffer)
        if buffer.tell() > MAX_FILE_MB * 1_000_000:
            raise ValueError(f"more than {MAX_FILE_MB} MB")
    except ValueError as error:
        raise UserError(f"cannot write {path}: it would hold {error}, and could not be read again") from error
    files.write_atomically(path, buffer.getvalue())


def read(path: str | Path) -> Any:
    """Return the content of a file: plain types and dense tensors on the CPU.

    State dicts of other programs have only the checksums of PyTorch's archive. Raises UserError for anything else, and
    for a file that is damaged, too large, or of another format.
    """
    path = Path(path)
    raw = files.read(path, MAX_FILE_MB, "no model file of this project is as large")
    try:
        inspect(raw)
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
        saved = {name: value for name, value in content.items() if name != "checksum"} if is_ours(content) else content
        found = checksum(saved)
    except Exception as error:  # corrupt bytes may raise anything
        if kind := _other_kind(raw):
            raise UserError(f"{path} is {kind}; {ACCEPTED}") from error
        raise UserError(f"{path} is not a model file, is damaged, or holds more than plain weights") from error
    if is_ours(content):
        _validate_format(path, content, found)
    return content


def _other_kind(raw: bytes) -> str | None:
    """Return what a file is that is not a state dict, as far as its bytes tell."""
    if raw.startswith(b"\x89HDF\r\n\x1a\n"):
        return "an HDF5 file, as Keras writes (.h5), not a PyTorch file"
    if raw.startswith(b"PK\x03\x04") and b"model.weights.h5" in raw:
        return "a Keras model (.keras), not a PyTorch file"
    if raw.startswith(b"PK\x03\x04") and b"/constants.pkl" in raw:
        return "a TorchScript program, not plain weights, and reading it would run it"
    if raw[8:9] == b"{" and b'"dtype"' in raw[:4096]:
        return "a safetensors file, not a PyTorch file"
    if b"_parameters" in raw and b"_modules" in raw:
        return "a whole pickled model, not plain weights, and reading it would run code"
    return None


def checksum(content: Any) -> str:
    """Return the SHA-256 of plain types and tensors: equal only for bitwise equal content.

    Raises ValueError for other types, for tensors that are not dense, and for content that is too deep or too large.
    """
    digest = hashlib.sha256()
    for number, leaf in enumerate(_leaves(content, 0)):
        if number > MAX_LEAVES:  # lists of lists of the same lists would go on for ever
            raise ValueError(f"more than {MAX_LEAVES:,} strings and numbers outside of tensors")
        digest.update(leaf)
    return digest.hexdigest()


def _leaves(content: Any, depth: int) -> Iterator[Any]:
    """Yield bytes that are equal only for equal content: the type, size and value of each part."""
    if depth > MAX_DEPTH:
        raise ValueError("containers nested too deeply")
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
        raise ValueError(f"an object of the type {type(content).__name__}")


def is_ours(content: Any) -> bool:
    """Return whether content is of our format, not a state dict of another program."""
    return isinstance(content, Mapping) and "format" in content


def _validate_format(path: Path, content: Mapping[str, Any], found: str) -> None:
    """Raise UserError where our file has another format, or its checksum is not that of its content."""
    number = content["format"]
    if type(number) is not int or number < 1:
        raise UserError(f"{path} is damaged: there is no such format; take another copy of it")
    if number != FORMAT:
        age, remedy = ("a newer", "update it") if number > FORMAT else ("an older", "train it again")
        raise UserError(f"{path} was made by {age} version of this project (format {number}); {remedy}")
    if content.get("checksum") != found:
        raise UserError(f"{path} is damaged: its checksum is not that of its content; take another copy of it")


def inspect(raw: bytes) -> None:
    """Raise an exception, of any type, unless these bytes are plain types and tensors that fit into them.

    Archives: entries with correct checksums, none compressed, outside of the folder or duplicate. Pickles: opcodes of
    plain types only, and no more than a model needs. Tensors: dense, each within its storage, together no larger than
    the file.
    """
    if raw.startswith(b"PK\x03\x04"):
        entries = _archive_entries(raw)
        (name,) = (name for name in entries if name.endswith("/data.pkl"))
        folder = name.removesuffix("data.pkl") + "data/"
        sizes = {entry.removeprefix(folder): len(content) for entry, content in entries.items()}
        _inspect_pickle(io.BytesIO(entries[name]), len(raw), sizes)
    else:
        file = io.BytesIO(raw)
        for _ in range(LEGACY_PICKLES):
            _inspect_pickle(file, len(raw), None)


def _archive_entries(raw: bytes) -> dict[str, bytes]:
    """Return the entries of an archive by name."""
    if raw.count(b"PK\x01\x02") > MAX_ARCHIVE_ENTRIES:  # zipfile would spend a kilobyte on each
        raise ValueError("too many entries")
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        for entry in entries:
            outside = entry.filename.startswith("/") or ".." in entry.filename.split("/")
            if outside or set(entry.orig_filename) & set("\\:\0"):
                raise ValueError("a name leads out of the folder")
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise ValueError("an entry is compressed or encrypted")
        if len({name.lower() for name in names}) < len(names):
            raise ValueError("a duplicate name")
        if sum(entry.file_size for entry in entries) > len(raw) or min(entry.header_offset for entry in entries):
            raise ValueError("the entries are not those of this file")
        return {name: archive.read(name) for name in names}  # verifies the checksums


def _inspect_pickle(file: BinaryIO, max_bytes: int, sizes: Mapping[str, int] | None) -> None:
    """Inspect the next pickle. max_bytes: of all tensors. sizes: of the storages by name; None if they follow it."""
    start, tuples = file.tell(), 0
    for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        tuples += opcode.name.startswith("TUPLE")
        far = opcode.name == "LONG_BINPUT" and (argument or 0) > MAX_OPCODES  # it would reserve that many entries
        if opcode.name not in OPCODES or number > MAX_OPCODES or tuples > MAX_TUPLES or far:
            raise ValueError("an opcode that plain types do not need")
    file.seek(start)
    _DeclaredContent(file, max_bytes, sizes).load()


class _Storage(collections.namedtuple("_Storage", ["element_size", "count"])):
    """Stands for the storage of tensors: bytes per element, and number of elements."""


class _OrderedDict(dict):
    """Stands for an OrderedDict."""

    def __setstate__(self, state: Any) -> None:
        """Ignore attributes, as torch.load(weights_only=True) does."""


class _DeclaredContent(pickle.Unpickler):
    """Makes stand-ins for what a pickle declares, and raises ValueError where that does not fit the file."""

    def __init__(self, file: BinaryIO, max_bytes: int, sizes: Mapping[str, int] | None) -> None:
        super().__init__(file, encoding="utf-8")
        self.sizes = sizes
        self.known: set[str] = set()
        self.tensor_bytes_left = self.storage_bytes_left = max_bytes

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a class or function; nothing is imported."""
        known: dict[tuple[str, str], Callable] = {
            ("collections", "OrderedDict"): _OrderedDict,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        return ELEMENT_SIZES[name] if module == "torch" else known[module, name]

    def persistent_load(self, declared: tuple) -> _Storage:
        """Return the storage that is declared by type, element size, key, device and count."""
        kind, element_size, name, _, count, *view = declared
        if kind != "storage" or any(part is not None for part in view) or type(count) is not int or count < 0:
            raise ValueError("a storage of an unknown kind")
        if self.sizes is None and name not in self.known:  # its bytes follow the pickles
            self.known.add(name)
            self.storage_bytes_left -= element_size * count
        if self.storage_bytes_left < 0 or (self.sizes is not None and self.sizes[name] != element_size * count):
            raise ValueError("the storage is not as large as declared")
        return _Storage(element_size, count)

    def _tensor(self, storage: _Storage, start: int, shape: tuple, strides: tuple, *_: Any) -> None:
        invalid = any(type(value) is not int or value < 0 for value in (start, *shape, *strides))
        if invalid or len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
            raise ValueError("an invalid shape")
        last = start + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
        if math.prod(shape) and last >= storage.count:
            raise ValueError("a tensor reaches beyond its storage")
        self.tensor_bytes_left -= storage.element_size * math.prod(shape)
        if self.tensor_bytes_left < 0:
            raise ValueError("the tensors are larger than the file")
