"""Real trainings, killed at random moments and at every line of a save: what is left is whole, and goes on."""

import itertools
import json
import os
import random
import runpy
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from PIL import Image
from stress import LONG, count, forkserver, keep

from digit_recognizer import checkpoints, models, recipes, training
from digit_recognizer.runtime import files, provenance

SCRIPT = Path(__file__).parents[2] / "mnist_recognition.py"
RECIPE = recipes.get("mlp_128_adam", epochs=12)
FLAGS = ["--recipe", RECIPE.name, "--epochs", "12", "--dataset", "optdigits", "--device", "cpu", "--quiet"]
PROGRESS = Path("runs", RECIPE.name, "optdigits-seed0.progress.pth")
RECORD = Path("runs", RECIPE.name, "optdigits-seed0.json")
MODEL = Path("optdigits_model.pth")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="only POSIX has SIGKILL")


def train(folder: Path, flags: list[str], line: int | None = None) -> None:
    """The script in this new process; with a line, it kills itself where that many lines of files.py were run."""
    os.chdir(folder)
    sys.argv = [str(SCRIPT), *flags]
    if line is not None:
        lines = itertools.count(1)
        at_each_line(lambda: os.kill(os.getpid(), signal.SIGKILL) if next(lines) == line else None)
    runpy.run_path(str(SCRIPT), run_name="__main__")


def at_each_line(call: Callable[[], None]) -> None:
    """From now on, call it just before each line of the module that writes all files."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line":
            call()
        return trace

    sys.settrace(trace)


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> int:
    """How many lines of files.py a whole run runs: saves its progress, figures, record and model."""
    passed, tracing = itertools.count(), sys.gettrace()
    at_each_line(lambda: next(passed) and None)
    files.write_atomically(tmp_path_factory.mktemp("lines") / "file", b"text")
    sys.settrace(tracing)
    return next(passed) * (RECIPE.epochs + 8)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> tuple[str, float]:
    """Of a run that nobody killed: the weights' hash, and its seconds."""
    folder, began = tmp_path_factory.mktemp("whole"), time.monotonic()
    process = forkserver().Process(target=train, args=(folder, FLAGS))
    process.start()
    process.join(300)
    return json.loads((folder / RECORD).read_text())["weights"], time.monotonic() - began


def check_whole(folder: Path, before: bytes) -> None:
    """Whatever has its own name is whole: the old content or the new."""
    if (folder / PROGRESS).exists():
        progress = checkpoints.load_progress(folder / PROGRESS, RECIPE, "optdigits", 0)
        assert 1 <= len(progress["history"]) <= RECIPE.epochs
    if (folder / MODEL).read_bytes() != before:
        assert checkpoints.load(folder / MODEL).recipe == RECIPE
    if (folder / RECORD).exists():
        assert len(json.loads((folder / RECORD).read_text())["history"]) == RECIPE.epochs
    for figure in folder.rglob("*.png"):
        with Image.open(figure) as picture:
            picture.load()


def run_with_kills(folder: Path, randomness: random.Random, kills: int, seconds: float, lines: int) -> int:
    """A run killed that often, or until it is done, and then left to its end. Returns how often it was killed."""
    before = checkpoints.PRETRAINED.joinpath("mlp_512_256_adam_5ep.pth").read_bytes()
    (folder / MODEL).write_bytes(before)  # an older model stands there
    killed = 0
    while True:
        flags = [*FLAGS, "--resume"] if (folder / PROGRESS).exists() else FLAGS
        in_a_save = randomness.random() < 0.5
        line = randomness.randrange(1, lines // 3) if in_a_save and killed < kills else None
        process = forkserver().Process(target=train, args=(folder, flags, line))
        process.start()
        if killed < kills and not in_a_save:
            process.join(randomness.uniform(0, seconds / 3))
            process.kill()
        process.join(300)
        if process.exitcode == 0:
            return killed
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        check_whole(folder, before)


def test_killed_trainings_go_on_to_the_same_weights(whole_run, lines, tmp_path):
    weights, seconds = whole_run
    randomness, killed, runs = random.Random(0), 0, 0
    while killed < count(4, 200):
        folder = tmp_path / str(runs)
        folder.mkdir()
        killed += run_with_kills(folder, randomness, count(4, 10), seconds, lines)
        runs += 1
        assert provenance.weights_hash(checkpoints.load_model(folder / MODEL)) == weights
        assert json.loads((folder / RECORD).read_text())["weights"] == weights
        assert not (folder / PROGRESS).exists()
    keep("crash", {"kills": killed, "runs": runs, "runs that ended in the same weights": runs})


def test_saving_after_each_epoch_costs_little(request, tmp_path):
    digits, recipe = request.getfixturevalue("mnist" if LONG else "optdigits"), recipes.get(epochs=1)
    kept, milliseconds = [], []
    _, (row,) = training.fit(models.build(recipe), digits, recipe, quiet=True, on_epoch=kept.append)
    for _ in range(count(2, 100)):
        began = time.perf_counter()
        checkpoints.save_progress(tmp_path / "progress.pth", recipe, "mnist", 0, kept[0])
        milliseconds.append(1000 * (time.perf_counter() - began))
    median = statistics.median(milliseconds)
    keep("saving", {
        "n": len(milliseconds), "median ms": median, "slowest ms": max(milliseconds),
        "MB": (tmp_path / "progress.pth").stat().st_size / 1e6, "share of an epoch": median / 1000 / row["seconds"],
    })  # fmt: skip
    assert not LONG or median < 100  # five times the bar of a quiet machine, which docs/testing.md states
