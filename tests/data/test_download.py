"""Files from a small server on this machine: downloaded whole and checked, or refused with nothing half left behind."""

import contextlib
import gc
import gzip
import socket
import threading
import time
import unittest.mock

import filelock
import loopback
import pytest
import torch
from loopback import BAD_ANSWERS, FILES, PACKED, RESOURCES, SILENCE, SUMS, WHOLE, put, send, serving, tree, trickle
from torchvision.datasets import MNIST, QMNIST

from digit_recognizer import data
from digit_recognizer.data import download, sources

# pooch leaves broken connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
IMAGES, LABELS, *_ = FILES
ANSWER_SECONDS, SILENCE_SECONDS = download.ANSWER_SECONDS, download.SILENCE_SECONDS
NOT_THE_ORIGINAL = "is damaged (its MD5 is not the original's)"


@pytest.fixture(scope="module", autouse=True)
def collected():
    """Collect them here, while their warning is ignored."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Longer timeouts than users have, so that a busy machine is not taken for a dead network."""
    monkeypatch.setattr(download, "ANSWER_SECONDS", 60)
    monkeypatch.setattr(download, "SILENCE_SECONDS", 30)


@pytest.fixture
def serve(monkeypatch):
    """serve(answer, files) starts a server on 127.0.0.1: (its address, the list of the requests it got)."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with contextlib.ExitStack() as servers:
        yield lambda *arguments: servers.enter_context(serving(*arguments))


@pytest.fixture
def mirrors(serve, monkeypatch):
    """mirrors(answer, ...) makes MNIST the small one, with a mirror for each answer: the requests that each got."""
    monkeypatch.setattr(MNIST, "resources", RESOURCES)
    monkeypatch.setattr(sources, "MNIST_MD5", dict(SUMS))

    def start(*answers: loopback.Answer) -> list[list[str]]:
        addresses, asked = zip(*map(serve, answers), strict=True)
        monkeypatch.setattr(MNIST, "mirrors", list(addresses))
        return list(asked)

    return start


def test_a_good_download_ends_with_exactly_the_four_files_which_load_without_a_request(mirrors, tmp_path, capsys):
    (asked,) = mirrors(send)
    digits = data.load("mnist", tmp_path / "digits")
    assert tree(tmp_path / "digits") == WHOLE
    assert [line for line in asked if "GET" in line] == [f"GET /{name}" for name in PACKED]
    images = torch.cat([digits.train.images, digits.test.images]).numpy().tobytes()
    assert images == b"".join(FILES[name][16:] for name in FILES if "images" in name)
    assert (digits.train.labels.tolist(), digits.test.labels.tolist()) == ([*range(10), 0, 1], [0, 1, 2, 3])
    assert digits.md5 == SUMS
    said = capsys.readouterr()
    assert said.out == f"MNIST is not in {tmp_path / 'digits' / 'MNIST' / 'raw'}; downloading it.\n"
    assert "100%" in said.err
    asked.clear()
    assert data.load("mnist", tmp_path / "digits").md5 == SUMS
    assert asked == [] and capsys.readouterr().out == "" and tree(tmp_path / "digits") == WHOLE


def test_a_missing_file_is_downloaded_and_the_others_are_left_alone(mirrors, tmp_path, capsys):
    (asked,) = mirrors(send)
    *there, missing = FILES
    put(tmp_path, {name: FILES[name] for name in there})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "MNIST/raw").iterdir()}
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    assert tree(tmp_path) == WHOLE
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [line for line in asked if "GET" in line] == [f"GET /{missing}.gz"]
    assert capsys.readouterr().out == f"{tmp_path / 'MNIST/raw' / missing} is missing; downloading it.\n"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [lambda whole: b"", lambda whole: whole[:-1], lambda whole: whole[:-1] + bytes([whole[-1] ^ 1])],
    ids=["empty", "cut by a byte", "a flipped bit"],
)
def test_a_damaged_file_is_named_downloaded_again_and_kept_beside(mirrors, tmp_path, capsys, name, damage):
    mirrors(send)
    damaged = damage(FILES[name])
    put(tmp_path, FILES | {name: damaged})
    assert data.load("mnist", tmp_path).md5 == SUMS
    assert tree(tmp_path) == WHOLE | {f"MNIST/raw/{name}.damaged": damaged}
    path = tmp_path / "MNIST" / "raw" / name
    said = f"{path} {NOT_THE_ORIGINAL}; downloading it.\nMNIST is complete; kept: {path}.damaged\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("answer", [*BAD_ANSWERS, *SILENCE])
def test_the_second_mirror_serves_where_the_first_does_not(mirrors, tmp_path, monkeypatch, answer):
    if answer in SILENCE:
        monkeypatch.setattr(download, "SILENCE_SECONDS", 2)
    first, second = mirrors((BAD_ANSWERS | SILENCE)[answer], send)
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    assert first and second and tree(tmp_path) == WHOLE
    if answer == "images only":  # the second goes on where the first stops
        assert f"GET /{IMAGES}.gz" in first and f"GET /{IMAGES}.gz" not in second


def test_a_slow_connection_that_keeps_sending_is_waited_for(mirrors, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SILENCE_SECONDS", 3)
    slow = trickle(pieces=8, pause=0.5)
    mirrors(lambda request, body: slow(request, body) if IMAGES in request.path else send(request, body))
    assert data.load("mnist", tmp_path).md5 == SUMS and tree(tmp_path) == WHOLE


@pytest.mark.parametrize("below", ["MNIST/raw", "."])
def test_gzip_files_in_the_data_folder_are_read_without_a_request(mirrors, tmp_path, capsys, below):
    (asked,) = mirrors(send)
    # Packed by anyone, one of them unpacked, and one beside a damaged unpacked one.
    packed = {f"{name}.gz": gzip.compress(content, 1) for name, content in FILES.items() if name != LABELS}
    put(tmp_path, packed | {LABELS: FILES[LABELS], IMAGES: FILES[IMAGES][:100]}, below)
    before = tree(tmp_path)
    digits = data.load("mnist", tmp_path)
    assert digits.md5 == SUMS and digits.train.images.numpy().tobytes() == FILES[IMAGES][16:]
    assert asked == [] and capsys.readouterr().out == "" and tree(tmp_path) == before


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda packed: packed[:-20], "it is cut short"),
        (lambda packed: packed[:50] + bytes([packed[50] ^ 1]) + packed[51:], "it is not a valid gzip file"),
        (lambda packed: b"<html>Please log in</html>", "it is not a valid gzip file"),
        (lambda packed: gzip.compress(b"others"), "its MD5 is not the original's"),
    ],
    ids=["cut", "a flipped bit", "a page", "others"],
)
def test_a_damaged_gzip_file_is_named_and_downloaded_again(mirrors, tmp_path, capsys, damage, reason):
    mirrors(BAD_ANSWERS["not found"])
    name = f"{IMAGES}.gz"
    put(tmp_path, PACKED | {name: damage(PACKED[name])})
    path, before = tmp_path / "MNIST" / "raw" / name, tree(tmp_path)
    expected = f"{path} is damaged ({reason}); no download site answers; put good copies into {path.parent}: {IMAGES}"
    assert loopback.refusal_of("mnist", tmp_path) == expected and tree(tmp_path) == before
    mirrors(send)
    capsys.readouterr()
    assert data.load("mnist", tmp_path).md5 == SUMS
    assert capsys.readouterr().out.splitlines()[0] == f"{path} is damaged ({reason}); downloading it."
    assert (path.parent / IMAGES).read_bytes() == FILES[IMAGES] and not path.exists()
    assert path.with_name(f"{name}.damaged").read_bytes() == damage(PACKED[name])


@pytest.mark.parametrize("there", ["nothing", "one file", "a damaged file"])
@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_a_bad_download_is_refused_and_leaves_the_files_as_they_were(mirrors, tmp_path, answer, there):
    (asked,) = mirrors(BAD_ANSWERS[answer])
    files = {"nothing": {}, "one file": {IMAGES: FILES[IMAGES]}, "a damaged file": FILES | {LABELS: FILES[LABELS][:-1]}}
    put(tmp_path, files[there])
    raw, before = tmp_path / "MNIST" / "raw", tree(tmp_path)
    message = loopback.refusal_of("mnist", tmp_path)
    assert asked and tree(tmp_path) == before
    if there == "a damaged file":
        assert message.startswith(f"{raw / LABELS} {NOT_THE_ORIGINAL}; ")
        assert message.endswith(f"; put good copies into {raw}: {LABELS}")
        assert loopback.refusal_of("mnist", tmp_path, fall_back=True) == message  # the embedded set is for absent files
    else:
        assert message.startswith(f"MNIST is not in {raw} and cannot be downloaded (")
        missing = [name for name in FILES if name not in files[there]]
        assert message.endswith(f"; put the missing files there, as .gz or unpacked: {', '.join(missing)}")


def test_unexpected_files_are_refused(mirrors, tmp_path, monkeypatch):
    mirrors(send)
    monkeypatch.setitem(sources.MNIST_MD5, IMAGES, "0" * 32)
    message = loopback.refusal_of("mnist", tmp_path)
    assert message.startswith("the downloaded files of MNIST are not the expected ones: ") and IMAGES in message


@pytest.mark.parametrize("answer", SILENCE)
def test_silent_mirrors_are_given_up(mirrors, tmp_path, monkeypatch, answer):
    assert ANSWER_SECONDS + len(MNIST.mirrors) * SILENCE_SECONDS < 15
    monkeypatch.setattr(download, "ANSWER_SECONDS", 2)
    monkeypatch.setattr(download, "SILENCE_SECONDS", 1)
    first, _ = mirrors(SILENCE[answer], SILENCE[answer])
    put(tmp_path, {IMAGES: FILES[IMAGES]})
    before, started = tree(tmp_path), time.monotonic()
    loopback.refusal_of("mnist", tmp_path)
    assert time.monotonic() - started < 50  # the servers are silent for 60
    assert first and tree(tmp_path) == before


def test_a_name_that_is_never_looked_up_is_given_up(mirrors, tmp_path, monkeypatch):
    mirrors(send)
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.5)
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(60) and [])
    assert "no download site answers" in loopback.refusal_of("mnist", tmp_path / "digits")
    assert not ended.is_set() and list(tmp_path.iterdir()) == []
    ended.set()


def test_a_stopped_download_leaves_nothing(mirrors, tmp_path, monkeypatch):
    mirrors(send)
    monkeypatch.setattr("pooch.Decompress.__call__", unittest.mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        data.load("mnist", tmp_path)
    assert tree(tmp_path) == {"MNIST": b"", "MNIST/raw": b""}


@pytest.mark.parametrize("there", [FILES, dict(list(FILES.items())[1:])], ids=["whole", "a file missing"])
def test_what_a_killed_download_left_is_removed_and_a_running_one_is_left_alone(mirrors, tmp_path, there):
    mirrors(send)
    put(tmp_path, there | {".download.lock": b""})
    put(tmp_path, {f"{IMAGES}.gz": b"half", "tmp123": b"half"}, "MNIST/raw/.download")
    if there == FILES:
        with filelock.FileLock(tmp_path / "MNIST/raw/.download.lock"):
            data.load("mnist", tmp_path)
            assert (tmp_path / "MNIST/raw/.download/tmp123").exists()
    data.load("mnist", tmp_path)
    assert tree(tmp_path) == WHOLE


@pytest.fixture
def qmnist_site(serve, monkeypatch):
    """qmnist_site(answer) makes QMNIST a small one on a server with this answer: its files."""

    def start(answer: loopback.Answer) -> dict[str, bytes]:
        arrays = [*loopback.digits_of_writers(100, seed=1), *loopback.digits_of_writers(2100, seed=2)]
        files = dict(zip(sources.QMNIST_FILES, map(loopback.idx, arrays), strict=True))
        packed = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}
        address, _ = serve(answer, packed)
        resources = [(address + name, loopback.md5(content)) for name, content in packed.items()]
        monkeypatch.setattr(QMNIST, "resources", {"train": resources[:2], "test": resources[2:]})
        return files

    return start


def test_qmnist_is_downloaded_whole_and_a_damaged_file_again(qmnist_site, tmp_path, capsys):
    files, raw = qmnist_site(send), tmp_path / "QMNIST" / "raw"
    assert len(data.load("qmnist", tmp_path).train.labels) == 480
    assert tree(raw) == files
    damaged = raw / "qmnist-test-labels-idx2-int"
    damaged.write_bytes(b"<html>")
    capsys.readouterr()
    assert len(data.load("qmnist", tmp_path).train.labels) == 480
    assert tree(raw) == files | {f"{damaged.name}.damaged": b"<html>"}
    assert capsys.readouterr().out.startswith(f"{damaged} is damaged (it is not in the IDX format); downloading it.\n")


def test_qmnist_is_refused_whole_when_its_labels_fail_and_read_from_gzip_files(qmnist_site, tmp_path):
    files = qmnist_site(BAD_ANSWERS["images only"])
    assert "QMNIST is not in" in loopback.refusal_of("qmnist", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()] and not sources.qmnist_is_on_disk(tmp_path)
    put(tmp_path, {f"{name}.gz": gzip.compress(content) for name, content in files.items()}, ".")
    assert sources.qmnist_is_on_disk(tmp_path)
    assert data.load("qmnist", tmp_path).md5 == {name: loopback.md5(content) for name, content in files.items()}
