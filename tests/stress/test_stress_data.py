"""Real processes that download at once, are killed at any moment, or may not write: the data ends up whole."""

import contextlib
import io
import os
import random
import shutil
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from loopback import FILES, RESOURCES, SUMS, WHOLE, put, send, send_half_and_wait, serving, tree, trickle
from stress import count, forkserver, keep

from digit_recognizer import data
from digit_recognizer.data import download, sources
from digit_recognizer.runtime.errors import UserError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks processes and kills them by a signal")

NAMES = list(FILES)
# What lies in the folder before: nothing, half of the files, or all of them with one cut short.
BEFORE = {
    "empty": {},
    "half-filled": {file: FILES[file] for file in NAMES[1:3]},
    "damaged": FILES | {NAMES[0]: FILES[NAMES[0]][:1000]},
}
MISSING = {"empty": 4, "half-filled": 2, "damaged": 1}  # how many files that leaves to download
NOBODY = 65534


def load_small(folder: Path, address: str, start=None, user: int | None = None, said=None) -> None:
    """In a process of its own: load MNIST, which is the small one at this address, from a folder."""
    from torchvision.datasets import MNIST

    os.environ |= {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    MNIST.mirrors, MNIST.resources, sources.MNIST_MD5 = [address], RESOURCES, SUMS
    download.ANSWER_SECONDS, download.SILENCE_SECONDS = 60, 30  # a busy machine is no dead network
    if user is not None:
        os.setgid(user)
        os.setuid(user)
    if start is not None:
        start.wait(300)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            digits = data.load("mnist", folder)
        assert digits.md5 == SUMS and len(digits.train.labels) == 12
        line = "loaded"
    except UserError as error:
        line = str(error)
    if said is not None:
        said.put(line)
    elif line != "loaded":
        raise SystemExit(line)


def started(*arguments) -> BaseProcess:
    """A process that loads the small MNIST."""
    process = forkserver().Process(target=load_small, args=arguments)
    process.start()
    return process


def exitcode(process: BaseProcess) -> int | None:
    process.join(300)
    return process.exitcode


def after(state: str) -> dict[str, bytes]:
    """What the folder must hold in the end: the four files, and the damaged one under another name."""
    return WHOLE | ({f"MNIST/raw/{NAMES[0]}.damaged": BEFORE["damaged"][NAMES[0]]} if state == "damaged" else {})


def test_processes_that_start_at_once_end_with_one_good_copy(tmp_path):
    rounds, processes = count(1, 10), 0
    for number in range(rounds):
        for state, files in BEFORE.items():
            for size in (2, 4):
                folder, start = tmp_path / f"{number}-{state}-{size}", forkserver().Barrier(size)
                put(folder, files)
                with serving(send) as (address, asked):
                    each = [started(folder, address, start) for _ in range(size)]
                    assert [exitcode(process) for process in each] == [0] * size
                assert tree(folder) == after(state)
                assert sum("GET" in line for line in asked) == MISSING[state]  # one of them downloads
                processes += size
    keep("processes that start at once", {"processes": processes, "rounds": rounds * 2 * len(BEFORE), "bad copies": 0})


def test_a_download_killed_at_any_moment_leaves_whole_files_and_the_next_run_works(tmp_path):
    kills, moments = count(4, 60), random.Random(0)
    caught = 0
    for number in range(kills):
        state = list(BEFORE)[number % len(BEFORE)]
        folder = tmp_path / str(number)
        put(folder, BEFORE[state])
        answer = trickle(pieces=4, pause=0.02) if number % 4 else send_half_and_wait
        with serving(answer) as (address, asked):
            process = started(folder, address)
            while not any("GET" in line for line in asked) and process.is_alive():
                time.sleep(0.001)
            time.sleep(moments.uniform(0, 0.12 * MISSING[state]))  # of which the server takes a half
            process.kill()
            process.join(300)
        left = {path: content for path, content in tree(folder).items() if "/.download" not in path}
        caught += len(left) < len(tree(folder))
        before = {f"MNIST/raw/{file}": content for file, content in BEFORE[state].items()}
        assert all(content in (before.get(path), after(state).get(path)) for path, content in left.items())
        with serving(send) as (address, _):
            assert exitcode(started(folder, address)) == 0
        assert tree(folder) == after(state)
        shutil.rmtree(folder)
    assert caught >= kills // 4
    keep("killed downloads", {"kills": kills, "in the middle": caught, "files lost or half written": 0})


@pytest.fixture
def readable():
    """A folder that every user may read; pytest's folders are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        for path in Path(folder).rglob("*"):
            path.chmod(0o755)


@pytest.mark.parametrize("state", ["whole", *BEFORE])
def test_a_folder_that_may_not_be_written_serves_if_complete_and_is_named_if_not(readable, state):
    put(readable, (BEFORE | {"whole": FILES})[state])
    for path in sorted(readable.rglob("*"), reverse=True):
        path.chmod(0o555)
    before, said = tree(readable), forkserver().SimpleQueue()
    with serving(send) as (address, asked):
        user = NOBODY if os.geteuid() == 0 else None  # root may write to every folder
        assert exitcode(started(readable, address, None, user, said)) == 0
    line = said.get()
    said.close()
    assert tree(readable) == before and asked == []
    assert (line == "loaded") == (state == "whole")
    cannot = f"{readable / 'MNIST/raw'} cannot be written to; choose another folder with --data-dir"
    assert state == "whole" or cannot in line
