"""Downloads from a small server on this machine: whole and checked, or refused soon with nothing left behind."""

import gc
import gzip
import hashlib
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from test_qmnist import digits_of_writers, idx
from torchvision.datasets import MNIST, QMNIST

from digit_recognizer import data, sources
from digit_recognizer.errors import UserError

# torchvision leaves refused connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def collected():
    """Has them collected here, while the warning of it is ignored."""
    yield
    gc.collect()


def small_mnist() -> dict[str, bytes]:
    """12 + 4 digits in MNIST's four files, by their names."""
    random = np.random.default_rng(0)
    arrays = []
    for count in (12, 4):
        arrays += [random.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10]
    return dict(zip(sources.MNIST_MD5, map(idx, arrays), strict=True))


FILES = small_mnist()
PACKED = {f"{file}.gz": gzip.compress(content, mtime=0) for file, content in FILES.items()}


def md5(content: bytes) -> str:
    """The MD5 as hexadecimal digits."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


# What a server does with a request. body: what the file asked for holds.


def send(request: BaseHTTPRequestHandler, body: bytes, promised: int | None = None) -> None:
    """Status 200 and the body; promised: the length that the heading gives."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(body) if promised is None else promised))
    request.end_headers()
    request.wfile.write(body)


def send_a_page(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """A page to log in at, as in a hotel."""
    send(request, b"<html>\n<body>Please log in</body>\n</html>\n")


def send_half(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """Half of the body, then the connection is closed."""
    send(request, body[: len(body) // 2], promised=len(body))


def send_other_digits(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """A sound archive that is not the one asked for."""
    send(request, gzip.compress(b"other digits"))


def hang_up(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """Not a byte, the connection is closed at once."""


def send_half_and_wait(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """Half of the body, then silence."""
    send_half(request, body)
    request.server.closing.wait(20)


def wait(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """Silence."""
    request.server.closing.wait(20)


def refuse(status: int) -> Callable[[BaseHTTPRequestHandler, bytes], None]:
    """An answer of nothing but an error."""
    return lambda request, body: request.send_error(status)


@pytest.fixture
def serve(monkeypatch):
    """serve(answer, files) starts a server on 127.0.0.1: (its address, the list of the paths it was asked for)."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    servers = []

    def start(answer: Callable, files: dict[str, bytes] = PACKED) -> tuple[str, list[str]]:
        asked = []

        def get(request: BaseHTTPRequestHandler) -> None:
            asked.append(request.path)
            answer(request, files[Path(request.path).name])

        quiet = {"log_message": lambda *_: None, "do_GET": get}
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (BaseHTTPRequestHandler,), quiet))
        server.closing = threading.Event()
        server.handle_error = lambda *_: None  # a client that goes away is none
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/", asked

    yield start
    for server in servers:
        server.closing.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirrors(serve, monkeypatch):
    """mirrors(answer, ...) makes MNIST the small one, with a mirror for each answer: the paths each was asked for."""
    monkeypatch.setattr(MNIST, "resources", [(file, md5(content)) for file, content in PACKED.items()])
    monkeypatch.setattr(sources, "MNIST_MD5", {file: md5(content) for file, content in FILES.items()})

    def start(*answers: Callable) -> list[list[str]]:
        addresses, asked = zip(*map(serve, answers), strict=True)
        monkeypatch.setattr(MNIST, "mirrors", list(addresses))
        return list(asked)

    return start


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


def refusal_of(name: str, folder: Path) -> str:
    """The one line with which loading is refused."""
    with pytest.raises(UserError) as refusal:
        data.load(name, folder)
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


WHOLE = {"MNIST": b"", "MNIST/raw": b""} | {f"MNIST/raw/{file}": content for file, content in FILES.items()}
BAD_ANSWERS = {
    "403": refuse(403),
    "404": refuse(404),
    "503": refuse(503),
    "a page": send_a_page,
    "half": send_half,
    "other digits": send_other_digits,
    "hung up": hang_up,
}


def test_a_good_download_ends_with_exactly_the_four_files_and_loads(mirrors, tmp_path, capsys):
    (asked,) = mirrors(send)
    digits = data.load("mnist", tmp_path / "digits")
    assert tree(tmp_path / "digits") == WHOLE
    assert {path.lstrip("/") for path in asked} == set(PACKED)
    images = torch.cat([digits.train.images, digits.test.images]).numpy().tobytes()
    assert images == b"".join(FILES[file][16:] for file in FILES if "images" in file)
    assert (digits.train.labels.tolist(), digits.test.labels.tolist()) == ([*range(10), 0, 1], [0, 1, 2, 3])
    assert digits.md5 == {file: md5(content) for file, content in FILES.items()}
    raw = tmp_path / "digits" / "MNIST" / "raw"
    assert capsys.readouterr().out.splitlines() == [f"MNIST is not in {raw}; downloading it."]


def test_a_download_shows_its_progress(mirrors, tmp_path, capsys):
    mirrors(send)
    data.load("mnist", tmp_path)
    assert "100%" in capsys.readouterr().err


def test_a_complete_folder_is_used_without_a_request(mirrors, tmp_path, capsys):
    (asked,) = mirrors(refuse(404))
    put(tmp_path, FILES)
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    assert asked == [] and capsys.readouterr().out == ""
    assert tree(tmp_path) == WHOLE


def test_a_missing_file_is_fetched(mirrors, tmp_path):
    mirrors(send)
    put(tmp_path, {file: FILES[file] for file in list(FILES)[1:]})
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    assert tree(tmp_path) == WHOLE


def test_the_second_mirror_serves_where_the_first_does_not(mirrors, tmp_path):
    first, second = mirrors(refuse(403), send)
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    assert first and second and tree(tmp_path) == WHOLE


@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_a_bad_download_is_refused_and_leaves_nothing(mirrors, tmp_path, answer):
    (asked,) = mirrors(BAD_ANSWERS[answer])
    message = refusal_of("mnist", tmp_path / "my" / "digits")
    assert asked
    assert message.startswith(
        f"MNIST is neither in {tmp_path / 'my' / 'digits' / 'MNIST' / 'raw'} nor to be downloaded"
    )
    assert message.endswith(f"put there what is missing: {', '.join(FILES)}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_a_bad_download_leaves_what_was_there(mirrors, tmp_path, answer):
    (asked,) = mirrors(BAD_ANSWERS[answer])
    (tmp_path / "notes.txt").write_text("mine")
    put(tmp_path, {"t10k-labels-idx1-ubyte": b"mine too"})
    before = tree(tmp_path)
    message = refusal_of("mnist", tmp_path)
    assert asked and "t10k-labels-idx1-ubyte" not in message
    assert tree(tmp_path) == before


def test_a_download_that_fails_after_the_first_files_leaves_none_of_them(mirrors, tmp_path):
    def send_images_only(request: BaseHTTPRequestHandler, body: bytes) -> None:
        send(request, body) if "images" in request.path else request.send_error(404)

    (asked,) = mirrors(send_images_only)
    refusal_of("mnist", tmp_path / "digits")
    assert {path.lstrip("/") for path in asked} == set(list(PACKED)[:2])
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_unpacks_to_other_digits_is_refused_with_the_files_name(mirrors, tmp_path, monkeypatch):
    mirrors(send)
    monkeypatch.setitem(sources.MNIST_MD5, "t10k-images-idx3-ubyte", "0" * 32)
    assert str(tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte") in refusal_of("mnist", tmp_path)


def test_mirrors_that_never_answer_are_given_up_within_15_seconds(mirrors, tmp_path):
    first, _ = mirrors(wait, wait)
    started = time.monotonic()
    refusal_of("mnist", tmp_path / "digits")
    assert time.monotonic() - started < 15
    assert first and list(tmp_path.iterdir()) == []


def test_a_line_that_goes_dead_in_the_middle_is_given_up_within_15_seconds(mirrors, tmp_path):
    first, _ = mirrors(send_half_and_wait, send_half_and_wait)
    started = time.monotonic()
    refusal_of("mnist", tmp_path / "digits")
    assert time.monotonic() - started < 15
    assert first and list(tmp_path.iterdir()) == []


def test_with_fall_back_a_bad_download_ends_with_the_embedded_set(mirrors, tmp_path, capsys):
    mirrors(refuse(503))
    digits = data.load("mnist", tmp_path / "digits", fall_back=True)
    assert digits.name == "optdigits" and list(tmp_path.iterdir()) == []
    downloading, said = capsys.readouterr().out.splitlines()
    assert downloading.endswith("downloading it.") and "going on with optdigits" in said


def test_stopping_a_download_leaves_nothing(mirrors, tmp_path, monkeypatch):
    mirrors(send)

    def stop(*_, **__) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", stop)
    with pytest.raises(KeyboardInterrupt):
        data.load("mnist", tmp_path / "digits")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def qmnist_site(serve, monkeypatch):
    """qmnist_site(answer) makes QMNIST a small one on a server with this answer: (its files, the paths asked for)."""

    def start(answer: Callable) -> tuple[dict[str, bytes], list[str]]:
        arrays = [*digits_of_writers(100, seed=1), *digits_of_writers(2100, seed=2)]
        files = dict(zip(sources.QMNIST_FILES, map(idx, arrays), strict=True))
        packed = {f"{file}.gz": gzip.compress(content, mtime=0) for file, content in files.items()}
        address, asked = serve(answer, packed)
        resources = [(address + file, md5(content)) for file, content in packed.items()]
        monkeypatch.setattr(QMNIST, "resources", {"train": resources[:2], "test": resources[2:]})
        return files, asked

    return start


def test_qmnist_is_downloaded_whole(qmnist_site, tmp_path):
    files, _ = qmnist_site(send)
    assert len(data.load("qmnist", tmp_path).train.labels) == 480
    assert tree(tmp_path / "QMNIST" / "raw") == files


def test_qmnist_is_refused_whole_when_its_second_half_fails(qmnist_site, tmp_path):
    def send_train_only(request: BaseHTTPRequestHandler, body: bytes) -> None:
        send(request, body) if "train" in request.path else request.send_error(404)

    _, asked = qmnist_site(send_train_only)
    assert "QMNIST is neither in" in refusal_of("qmnist", tmp_path / "digits")
    assert "/qmnist-train-labels-idx2-int.gz" in asked and list(tmp_path.iterdir()) == []
