"""A small MNIST, and servers on this machine that give it: whole, cut, slowly, or something else."""

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

from digit_recognizer.data import sources

WRITER = 2  # the column of the writer's id in the extended labels
TYPES = {np.dtype("uint8"): 0x08, np.dtype("int32"): 0x0C}
Answer = Callable[[BaseHTTPRequestHandler, bytes], None]  # what a server does with a request, and the file asked for


def idx(array: np.ndarray) -> bytes:
    """An array of uint8 or int32 in the format of MNIST's and QMNIST's files: type, shape and numbers, big-endian.

    idx(np.zeros((5, 28, 28), np.uint8)) begins with 00 00 08 03, the magic number of images.
    """
    magic = TYPES[array.dtype] << 8 | array.ndim
    return (
        struct.pack(f">{array.ndim + 1}I", magic, *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


def digits_of_writers(first_writer: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """300 random images, uint8 (300, 28, 28), with extended labels, int32 (300, 8), of 30 writers of 2 to 18 digits."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (300, 28, 28), np.uint8)
    labels = np.zeros((300, 8), np.int32)
    labels[:, 0] = random.integers(0, 10, 300)  # the digit
    labels[:, 1] = 4  # the series of the form
    labels[:, WRITER] = first_writer + random.permutation(np.repeat(np.arange(30), 2 + 4 * (np.arange(30) % 5)))
    labels[:, 3] = np.arange(300)  # its index among its writer's
    labels[:, 4] = labels[:, 0] + 48  # NIST's class, the code of the character
    labels[:, 5] = 100_000 + np.arange(300)  # NIST's global index
    return images, labels


def small_mnist() -> dict[str, bytes]:
    """12 + 4 digits in MNIST's four files, by their names."""
    random = np.random.default_rng(0)
    arrays = []
    for count in (12, 4):
        arrays += [random.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10]
    return dict(zip(sources.MNIST_MD5, map(idx, arrays), strict=True))


def md5(content: bytes) -> str:
    """The MD5 as hexadecimal digits."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


FILES = small_mnist()
PACKED = {f"{file}.gz": gzip.compress(content, mtime=0) for file, content in FILES.items()}
# What torchvision and we know of it.
RESOURCES = [(file, md5(content)) for file, content in PACKED.items()]
SUMS = {file: md5(content) for file, content in FILES.items()}
# A folder that holds it, as tree shows it.
WHOLE = {"MNIST": b"", "MNIST/raw": b""} | {f"MNIST/raw/{file}": content for file, content in FILES.items()}


def put(folder: Path, files: dict[str, bytes]) -> None:
    """Write MNIST's files into a data folder."""
    (folder / "MNIST" / "raw").mkdir(parents=True)
    for file, content in files.items():
        (folder / "MNIST" / "raw" / file).write_bytes(content)


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their contents, and its folders as empty ones."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")
    }


@contextlib.contextmanager
def serving(answer: Answer, files: dict[str, bytes] = PACKED) -> Iterator[tuple[str, list[str]]]:
    """A server on 127.0.0.1 that answers so: its address, and the list of the paths it was asked for."""
    asked: list[str] = []

    def get(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        answer(request, files[Path(request.path).name])

    quiet = {"log_message": lambda *_: None, "do_GET": get}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (BaseHTTPRequestHandler,), quiet))
    server.closing = threading.Event()
    server.handle_error = lambda *_: None  # a client that goes away is none
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


def send(request: BaseHTTPRequestHandler, body: bytes, promised: int | None = None) -> None:
    """Status 200 and the body; promised: the length that the heading gives."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(body) if promised is None else promised))
    request.end_headers()
    request.wfile.write(body)


def refuse(status: int) -> Answer:
    """An answer of nothing but an error."""
    return lambda request, body: request.send_error(status)


def cut(keep: Callable[[int], int]) -> Answer:
    """The first bytes of the body, then the connection is closed. keep: how many of how many."""
    return lambda request, body: send(request, body[: keep(len(body))], promised=len(body))


send_half = cut(lambda count: count // 2)


def reset(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """Half of the body, then the connection breaks, as where a proxy dies."""
    send_half(request, body)
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def hang_up(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """Not a byte, the connection is closed at once."""


def wait(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """Silence."""
    request.server.closing.wait(20)


def send_half_and_wait(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """Half of the body, then silence."""
    send_half(request, body)
    wait(request, body)


def trickle(pieces: int, pause: float) -> Answer:
    """The whole body in so many pieces, with a pause after each, in seconds."""

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        size = len(body) // pieces + 1
        for begin in range(0, len(body), size):
            request.wfile.write(body[begin : begin + size])
            request.server.closing.wait(pause)

    return answer


def send_a_page(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """A page to log in at, as in a hotel."""
    send(request, b"<html>\n<body>Please log in</body>\n</html>\n")


def send_a_shorter_file(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """Half of the body, as if that were all: a copy that was cut long ago."""
    send(request, body[: len(body) // 2])


def send_a_flipped_bit(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """The body with one bit of it changed."""
    middle = len(body) // 2
    send(request, body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :])


def send_other_digits(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """A sound archive that is not the one asked for."""
    send(request, gzip.compress(b"other digits"))


def send_images_only(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """The images; the labels are not found."""
    send(request, body) if "images" in request.path else request.send_error(404)


BAD_ANSWERS: dict[str, Answer] = {
    "403": refuse(403),
    "404": refuse(404),
    "503": refuse(503),
    "a page": send_a_page,
    "cut before the first byte": cut(lambda count: 0),
    "cut after the first byte": cut(lambda count: 1),
    "half": send_half,
    "cut before the last byte": cut(lambda count: count - 1),
    "reset": reset,
    "a shorter file": send_a_shorter_file,
    "a flipped bit": send_a_flipped_bit,
    "other digits": send_other_digits,
    "hung up": hang_up,
}
SILENCE: dict[str, Answer] = {"silent": wait, "silent in the middle": send_half_and_wait}
# What can be wrong with a file on disk, made of what it should hold.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "half unpacked": lambda whole: whole[: len(whole) // 2],
    "cut by a byte": lambda whole: whole[:-1],
    "a flipped bit": lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
    "longer": lambda whole: whole + b"0",
    "a page": lambda whole: b"<html>Please log in</html>",
}
