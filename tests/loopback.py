"""A small MNIST and QMNIST, and servers on this machine that send their files whole, cut, slowly, or not at all."""

import contextlib
import gzip
import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from digit_recognizer import data
from digit_recognizer.data import sources
from digit_recognizer.runtime.errors import UserError

TYPES = {np.dtype("uint8"): 0x08, np.dtype("int32"): 0x0C}
Answer = Callable[[BaseHTTPRequestHandler, bytes], None]  # to a request for a file of this content


def idx(array: np.ndarray) -> bytes:
    """An array of uint8 or int32 in the IDX format; idx(np.zeros((5, 28, 28), np.uint8)) begins with 00 00 08 03."""
    sizes = struct.pack(f">{array.ndim + 1}I", TYPES[array.dtype] << 8 | array.ndim, *array.shape)
    return sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def digits_of_writers(first_writer: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """300 random images, uint8 (300, 28, 28), with extended labels, int32 (300, 8), of 30 writers of 2 to 18 digits."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (300, 28, 28), np.uint8)
    labels = random.integers(0, 10, (300, 8)).astype(np.int32)
    writers = first_writer + random.permutation(np.repeat(np.arange(30), 2 + 4 * (np.arange(30) % 5)))
    labels[:, sources.WRITER_COLUMN] = writers
    return images, labels


def md5(content: bytes) -> str:
    """The MD5 as hexadecimal digits."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


_random = np.random.default_rng(0)
# 12 + 4 digits in MNIST's four files, by their names.
FILES = dict(zip(sources.MNIST_MD5, [
    idx(array) for count in (12, 4)
    for array in (_random.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10)
], strict=True))  # fmt: skip
PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in FILES.items()}
RESOURCES = [(name, md5(content)) for name, content in PACKED.items()]  # as torchvision has them
SUMS = {name: md5(content) for name, content in FILES.items()}
# A data folder that holds the small MNIST, as tree shows it.
WHOLE = {"MNIST": b"", "MNIST/raw": b""} | {f"MNIST/raw/{name}": content for name, content in FILES.items()}


def put(root: Path, files: dict[str, bytes], below: str = "MNIST/raw") -> None:
    """Write files into a folder of the data folder."""
    (root / below).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / below / name).write_bytes(content)


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their contents, and its folders as empty ones."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: path.read_bytes() if path.is_file() else b"" for name, path in paths.items()}


def refusal_of(name: str, folder: Path | None, **options: bool) -> str:
    """The one line with which loading a data set is refused."""
    with pytest.raises(UserError) as refusal:
        data.load(name, folder, **options)
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


@contextlib.contextmanager
def serving(answer: Answer, files: dict[str, bytes] = PACKED) -> Iterator[tuple[str, list[str]]]:
    """A server on 127.0.0.1: its address, and the list of the requests it got, as "GET /name"."""
    asked: list[str] = []

    def respond(request: BaseHTTPRequestHandler) -> None:
        asked.append(f"{request.command} {request.path}")
        answer(request, files[Path(request.path).name])

    methods = {"log_message": lambda *_: None, "do_GET": respond, "do_HEAD": respond}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (BaseHTTPRequestHandler,), methods))
    server.closing = threading.Event()
    server.handle_error = lambda *_: None  # clients may go away
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


def send(request: BaseHTTPRequestHandler, body: bytes, promised: int | None = None) -> None:
    """Status 200 and the body. promised: another Content-Length than the body's."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(body) if promised is None else promised))
    request.end_headers()
    request.wfile.write(body)


def send_half(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """The first half of the body, then the connection is closed."""
    send(request, body[: len(body) // 2], promised=len(body))


def send_half_and_reset(request: BaseHTTPRequestHandler, body: bytes) -> None:
    send_half(request, body)
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def send_half_and_wait(request: BaseHTTPRequestHandler, body: bytes) -> None:
    send_half(request, body)
    request.server.closing.wait(60)


def trickle(pieces: int, pause: float) -> Answer:
    """The whole body in so many pieces, with a pause after each, in seconds."""

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        size = len(body) // pieces + 1
        send(request, body[:size], promised=len(body))
        for begin in range(size, len(body), size):
            request.server.closing.wait(pause)
            request.wfile.write(body[begin : begin + size])

    return answer


BAD_ANSWERS: dict[str, Answer] = {
    "not found": lambda request, body: request.send_error(404),
    "a login page": lambda request, body: send(request, b"<html>\n<body>Please log in</body>\n</html>\n"),
    "cut": send_half,
    "reset": send_half_and_reset,
    "a shorter file": lambda request, body: send(request, body[: len(body) // 2]),
    "a flipped bit": lambda request, body: send(request, body[:50] + bytes([body[50] ^ 1]) + body[51:]),
    "hung up": lambda request, body: None,
    "images only": lambda request, body: send(request, body) if "images" in request.path else request.send_error(404),
}
SILENCE: dict[str, Answer] = {
    "silent": lambda request, body: request.server.closing.wait(60), "silent in the middle": send_half_and_wait
}  # fmt: skip
