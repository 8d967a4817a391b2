"""Real trainings, killed at random moments and at every line of a save: what is left is whole, and goes on."""

import contextlib
import itertools
import json
import multiprocessing
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
from stress import count, keep

from digit_recognizer import checkpoints, data, models, recipes, training
from digit_recognizer.runtime import files, provenance

SCRIPT = Path(__file__).parents[2] / "mnist_recognition.py"
RECIPE = recipes.get("mlp_128_adam", epochs=12)
FLAGS = [
    "--recipe", RECIPE.name, "--epochs", "12", "--dataset", "optdigits", "--device", "cpu", "--quiet",
]  # fmt: skip
PROGRESS = Path("runs", RECIPE.name, "optdigits-seed0.progress.pth")
RECORD = Path("runs", RECIPE.name, "optdigits-seed0.json")
MODEL = Path("optdigits_model.pth")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="only POSIX has SIGKILL")


def train(folder: str, flags: list[str], line: int | None) -> None:
    """The script in this new process; with a line, it kills itself where that many lines of files.py were run."""
    os.chdir(folder)
    sys.argv = [str(SCRIPT), *flags]
    if line is not None:
        die_at(line)
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


def die_at(line: int) -> None:
    """Kill this process just before that line, counted as they are run."""
    lines = itertools.count(1)
    at_each_line(lambda: os.kill(os.getpid(), signal.SIGKILL) if next(lines) == line else None)


def lines_of_a_run(folder: str) -> None:
    """Notes how many lines of files.py a whole run runs."""
    lines = itertools.count()
    at_each_line(lambda: next(lines) and None)
    with contextlib.suppress(SystemExit):
        train(folder, FLAGS, None)
    sys.settrace(None)
    Path(folder, "lines").write_text(str(next(lines)))


@pytest.fixture(scope="module")
def nursery():
    """Starts processes that have everything imported, so that 200 of them take minutes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_stress_crash", "digit_recognizer.plots", "digit_recognizer.runtime.device"])
    return context


@pytest.fixture(scope="module")
def whole_run(nursery, tmp_path_factory) -> tuple[str, float, int]:
    """Of a run that nobody killed: the weights' hash, its seconds, and how many lines of files.py it runs."""
    folder = tmp_path_factory.mktemp("whole")
    began = time.monotonic()
    process = nursery.Process(target=lines_of_a_run, args=(str(folder),))
    process.start()
    process.join(300)
    seconds = time.monotonic() - began
    return json.loads((folder / RECORD).read_text())["weights"], seconds, int((folder / "lines").read_text())


def check_whole(folder: Path, before: bytes) -> None:
    """Whatever has its own name is whole: the old content or the new."""
    if (folder / PROGRESS).exists():
        progress = checkpoints.load_progress(folder / PROGRESS, RECIPE, "optdigits", 0)
        assert 1 <= len(progress["history"]) <= RECIPE.epochs
    model = (folder / MODEL).read_bytes()
    if model != before:
        assert checkpoints.load(folder / MODEL).recipe == RECIPE
    if (folder / RECORD).exists():
        assert len(json.loads((folder / RECORD).read_text())["history"]) == RECIPE.epochs
    for figure in folder.rglob("*.png"):
        with Image.open(figure) as picture:
            picture.load()


def run_with_kills(nursery, folder: Path, randomness: random.Random, kills: int, seconds: float, lines: int) -> int:
    """A run killed that often, or until it is done, and then left to its end. Returns how often it was killed."""
    before = checkpoints.PRETRAINED.joinpath("mlp_512_256_adam_5ep.pth").read_bytes()
    (folder / MODEL).write_bytes(before)  # an older model stands there
    killed = 0
    while True:
        flags = [*FLAGS, "--resume"] if (folder / PROGRESS).exists() else FLAGS
        in_a_save = randomness.random() < 0.5
        line = randomness.randrange(1, lines // 3) if in_a_save and killed < kills else None
        process = nursery.Process(target=train, args=(str(folder), flags, line))
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


def test_killed_trainings_go_on_to_the_same_weights(nursery, whole_run, tmp_path):
    weights, seconds, lines = whole_run
    randomness, killed, runs = random.Random(0), 0, 0
    while killed < count(4, 200):
        folder = tmp_path / str(runs)
        folder.mkdir()
        killed += run_with_kills(nursery, folder, randomness, count(4, 10), seconds, lines)
        runs += 1
        assert provenance.weights_hash(checkpoints.load_model(folder / MODEL)) == weights
        assert json.loads((folder / RECORD).read_text())["weights"] == weights
        assert not (folder / PROGRESS).exists()
    keep("crash", {"kills": killed, "runs": runs, "runs that ended in the same weights": runs})


def test_saving_after_each_epoch_costs_little(mnist, tmp_path):
    recipe = recipes.get(epochs=1)
    few = data.Digits("mnist", mnist.train, None, mnist.test.take(mnist.test.labels.argsort()[:10]), mnist.md5)
    kept: list[dict[str, Any]] = []
    _, (row,) = training.fit(models.build(recipe), few, recipe, quiet=True, after_epoch=kept.append)
    milliseconds = []
    for _ in range(count(20, 100)):
        began = time.perf_counter()
        checkpoints.save_progress(tmp_path / "progress.pth", recipe, "mnist", 0, kept[0])
        milliseconds.append(1000 * (time.perf_counter() - began))
    median = statistics.median(milliseconds)
    megabytes = (tmp_path / "progress.pth").stat().st_size / 1e6
    share = median / 1000 / row["seconds"]
    keep("saving", {
        "n": len(milliseconds), "median ms": median, "slowest ms": max(milliseconds), "MB": megabytes,
        "share of an epoch": share,
    })  # fmt: skip
    assert median < 100  # five times the bar of a quiet machine, which docs/testing.md states
