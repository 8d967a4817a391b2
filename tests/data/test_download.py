"""Downloads from a small server on this machine: whole and checked, or refused soon with nothing left behind."""

import contextlib
import gc
import gzip
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import filelock
import pytest
import torch
from loopback import (
    BAD_ANSWERS,
    DAMAGES,
    FILES,
    PACKED,
    RESOURCES,
    SILENCE,
    SUMS,
    WHOLE,
    Answer,
    digits_of_writers,
    idx,
    md5,
    put,
    refuse,
    send,
    send_half_and_wait,
    send_images_only,
    serving,
    tree,
    trickle,
    wait,
)
from torchvision.datasets import MNIST, QMNIST

from digit_recognizer import data
from digit_recognizer.data import download, sources
from digit_recognizer.runtime.errors import UserError

# torchvision leaves refused connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module", autouse=True)
def collected():
    """Has them collected here, while the warning of it is ignored."""
    yield
    gc.collect()


@pytest.fixture
def serve(monkeypatch):
    """serve(answer, files) starts a server on 127.0.0.1: (its address, the list of the paths it was asked for)."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with contextlib.ExitStack() as servers:
        yield lambda *arguments: servers.enter_context(serving(*arguments))


@pytest.fixture
def mirrors(serve, monkeypatch):
    """mirrors(answer, ...) makes MNIST the small one, with a mirror for each answer: the paths each was asked for."""
    monkeypatch.setattr(MNIST, "resources", RESOURCES)
    monkeypatch.setattr(sources, "MNIST_MD5", dict(SUMS))

    def start(*answers: Answer) -> list[list[str]]:
        addresses, asked = zip(*map(serve, answers), strict=True)
        monkeypatch.setattr(MNIST, "mirrors", list(addresses))
        return list(asked)

    return start


def refusal_of(name: str, folder: Path, **options: bool) -> str:
    """The one line with which loading is refused."""
    with pytest.raises(UserError) as refusal:
        data.load(name, folder, **options)
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


# What is whole in the end


def test_a_good_download_ends_with_exactly_the_four_files_and_loads(mirrors, tmp_path, capsys):
    (asked,) = mirrors(send)
    digits = data.load("mnist", tmp_path / "digits")
    assert tree(tmp_path / "digits") == WHOLE
    assert {path.lstrip("/") for path in asked} == set(PACKED)
    images = torch.cat([digits.train.images, digits.test.images]).numpy().tobytes()
    assert images == b"".join(FILES[file][16:] for file in FILES if "images" in file)
    assert (digits.train.labels.tolist(), digits.test.labels.tolist()) == ([*range(10), 0, 1], [0, 1, 2, 3])
    assert digits.md5 == SUMS
    raw = tmp_path / "digits" / "MNIST" / "raw"
    assert capsys.readouterr().out.splitlines() == [f"MNIST is not in {raw}; downloading it."]


def test_a_download_shows_its_progress(mirrors, tmp_path, capsys):
    mirrors(send)
    data.load("mnist", tmp_path)
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize("answer", [refuse(404), wait], ids=["404", "silent"])
def test_a_complete_folder_is_used_without_a_request(mirrors, tmp_path, capsys, answer):
    (asked,) = mirrors(answer)
    put(tmp_path, FILES)
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    assert asked == [] and capsys.readouterr().out == ""
    assert tree(tmp_path) == WHOLE


def test_a_missing_file_is_fetched_and_the_others_are_left_alone(mirrors, tmp_path, capsys):
    (asked,) = mirrors(send)
    *there, missing = FILES
    put(tmp_path, {file: FILES[file] for file in there})
    raw = tmp_path / "MNIST" / "raw"
    before = {path: path.stat().st_mtime_ns for path in raw.iterdir()}
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    assert tree(tmp_path) == WHOLE
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(asked[1:]) == {f"/{missing}.gz"}  # the first request sees whether anybody answers
    assert capsys.readouterr().out == f"{raw / missing} is missing; downloading it.\n"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_named_fetched_again_and_kept_beside(mirrors, tmp_path, capsys, file, damage):
    mirrors(send)
    damaged = DAMAGES[damage](FILES[file])
    put(tmp_path, FILES | {file: damaged})
    assert data.load("mnist", tmp_path).md5 == SUMS
    assert tree(tmp_path) == WHOLE | {f"MNIST/raw/{file}.damaged": damaged}
    raw = tmp_path / "MNIST" / "raw"
    assert capsys.readouterr().out.splitlines() == [
        f"{raw / file} is damaged (its MD5 is not that of MNIST's); downloading it.",
        f"MNIST is whole again; kept in {raw}: {file}.damaged",
    ]


def test_a_half_filled_and_damaged_folder_is_made_whole(mirrors, tmp_path, capsys):
    mirrors(send)
    first, second, third, _ = FILES
    put(tmp_path, {first: b"", second: FILES[second], third: FILES[third][:50]})
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    kept = {f"MNIST/raw/{first}.damaged": b"", f"MNIST/raw/{third}.damaged": FILES[third][:50]}
    assert tree(tmp_path) == WHOLE | kept
    said = capsys.readouterr().out.splitlines()[0]
    assert said.count(" is damaged ") == 2 and said.count(" is missing") == 1 and said.endswith("; downloading them.")


@pytest.mark.parametrize("answer", [*BAD_ANSWERS, *SILENCE])
def test_the_second_mirror_serves_where_the_first_does_not(mirrors, tmp_path, answer):
    first, second = mirrors((BAD_ANSWERS | SILENCE)[answer], send)
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    assert first and second and tree(tmp_path) == WHOLE


def test_the_second_mirror_goes_on_where_the_first_stops(mirrors, tmp_path):
    first, second = mirrors(send_images_only, send)
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    assert tree(tmp_path) == WHOLE
    assert "/train-images-idx3-ubyte.gz" in first and "/train-images-idx3-ubyte.gz" not in second


def test_a_slow_line_that_goes_on_sending_is_waited_for(mirrors, tmp_path):
    slow = trickle(pieces=5, pause=0.8)
    mirrors(lambda request, body: slow(request, body) if "train-images" in request.path else send(request, body))
    started = time.monotonic()
    assert len(data.load("mnist", tmp_path).train.labels) == 12
    assert time.monotonic() - started > download.STALL_SECONDS
    assert tree(tmp_path) == WHOLE


# What cannot be had


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
    put(tmp_path, {"t10k-labels-idx1-ubyte": FILES["t10k-labels-idx1-ubyte"]})
    before = tree(tmp_path)
    message = refusal_of("mnist", tmp_path)
    assert asked and "t10k-labels-idx1-ubyte" not in message
    assert tree(tmp_path) == before


@pytest.mark.parametrize("fall_back", [False, True])
@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_a_damaged_file_that_cannot_be_had_again_stays_and_one_line_says_what_to_do(
    mirrors, tmp_path, answer, fall_back
):
    (asked,) = mirrors(BAD_ANSWERS[answer])
    file = "t10k-labels-idx1-ubyte"
    put(tmp_path, FILES | {file: FILES[file][:-1]})
    before = tree(tmp_path)
    message = refusal_of("mnist", tmp_path, fall_back=fall_back)  # damage is not absence: optdigits does not step in
    assert asked and tree(tmp_path) == before
    path = tmp_path / "MNIST" / "raw" / file
    assert message.startswith(f"{path} is damaged (its MD5 is not that of MNIST's); not to be downloaded (")
    assert message.endswith(f", and left as it was; put good copies there: {file}")


def test_a_download_that_fails_after_the_first_files_leaves_none_of_them(mirrors, tmp_path):
    (asked,) = mirrors(send_images_only)
    refusal_of("mnist", tmp_path / "digits")
    assert {path.lstrip("/") for path in asked} == set(list(PACKED)[:2])
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_unpacks_to_other_digits_is_refused_with_the_files_name(mirrors, tmp_path, monkeypatch):
    mirrors(send)
    monkeypatch.setitem(sources.MNIST_MD5, "t10k-images-idx3-ubyte", "0" * 32)
    assert "what was downloaded as t10k-images-idx3-ubyte is not it" in refusal_of("mnist", tmp_path / "digits")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answer", [wait, send_half_and_wait], ids=SILENCE)
@pytest.mark.parametrize("there", [{}, dict(list(FILES.items())[:2])], ids=["empty", "half-filled"])
def test_mirrors_that_fall_silent_are_given_up_within_15_seconds(mirrors, tmp_path, answer, there):
    first, _ = mirrors(answer, answer)
    put(tmp_path / "digits", there)
    before = tree(tmp_path)
    started = time.monotonic()
    refusal_of("mnist", tmp_path / "digits")
    assert time.monotonic() - started < 15
    assert first and tree(tmp_path) == before


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

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", stop)
    with pytest.raises(KeyboardInterrupt):
        data.load("mnist", tmp_path / "digits")
    assert list(tmp_path.iterdir()) == []


# What a killed download left


@pytest.mark.parametrize("there", [FILES, dict(list(FILES.items())[1:])], ids=["whole", "a file missing"])
def test_what_a_killed_download_left_is_cleared_away(mirrors, tmp_path, there):
    mirrors(send)
    put(tmp_path, there)
    dead = tmp_path / "MNIST" / "raw" / ".download-dead"
    dead.mkdir()
    (dead / "train-images-idx3-ubyte.gz").write_bytes(b"half")
    (tmp_path / "MNIST" / "raw" / ".download-lock").write_bytes(b"")
    data.load("mnist", tmp_path)
    assert tree(tmp_path) == WHOLE


def test_what_a_living_download_is_at_is_left_alone(mirrors, tmp_path):
    mirrors(send)
    put(tmp_path, FILES)
    living = tmp_path / "MNIST" / "raw" / ".download-living"
    living.mkdir()
    with filelock.FileLock(living.with_name(".download-lock")):
        data.load("mnist", tmp_path)
        assert living.is_dir()
    data.load("mnist", tmp_path)
    assert tree(tmp_path) == WHOLE


# QMNIST


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


def test_a_damaged_file_of_qmnist_is_fetched_again(qmnist_site, tmp_path, capsys):
    files, _ = qmnist_site(send)
    raw = tmp_path / "QMNIST" / "raw"
    raw.mkdir(parents=True)
    for file, content in files.items():
        (raw / file).write_bytes(content)
    damaged = raw / "qmnist-test-labels-idx2-int"
    damaged.write_bytes(b"<html>")
    assert len(data.load("qmnist", tmp_path).train.labels) == 480
    assert tree(raw) == files | {f"{damaged.name}.damaged": b"<html>"}
    assert capsys.readouterr().out.startswith(f"{damaged} is damaged (not the format of QMNIST); downloading it.\n")
