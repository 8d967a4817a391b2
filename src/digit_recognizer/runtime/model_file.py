"""Plain content and tensors as a file, and back. A file is data: nothing in it is ever run.

Every file of ours holds its format number and a checksum of all else in it. PyTorch's archives have checksums too, but
whoever changes an archive can mend those, and so can a program that means well.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from digit_recognizer.runtime import files, inspection
from digit_recognizer.runtime.errors import UserError

# 1 knew no convolutions and no augmentation; 1 and 2 had log_softmax, yes or no, for output; 3 no styles;
# 4 no checksum; 5 no sharp augmentation
FORMAT = 6
WITH_CHECKSUM = 5  # the first
LARGEST = 256  # megabytes that a file may have; the networks here have up to ten
DEEPEST = 20  # containers within containers
MOST = 200_000  # words, tensors and numbers outside of them; half as many as a pickle may have steps


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

    Bare state dicts of other projects, and formats 1 to 4, have no checksum but that of PyTorch's archive.
    Raises UserError for what is anything else, damaged, larger than LARGEST, or of a newer format.
    """
    path = Path(path)
    raw = _bytes(path)
    try:
        inspection.look_through(raw)
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
    """Raise UserError where a file of ours is of a newer format, of none, or not what was saved."""
    number = content["format"]
    if type(number) is int and number > FORMAT:
        raise UserError(f"{path} was made by a newer version of this project (format {number}); update it")
    if type(number) is not int or number < 1:
        raise UserError(f"{path} is damaged: there is no such format; take another copy of it")
    if ("checksum" in content or number >= WITH_CHECKSUM) and content.get("checksum") != found:
        raise UserError(f"{path} is damaged: its checksum is not that of its content; take another copy of it")
