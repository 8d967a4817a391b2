"""Fixtures of many tests: the digits, a small trained network, the digits command, and no way to the internet."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from digit_recognizer import data, models, recipes, records, training
from digit_recognizer.recognition import page_reading
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.study import record_store


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Ctrl-C reaches what the tests start: a shell has its background jobs ignore it, and theirs with them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The default of the commands: another number of threads rounds sums in another order."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_chance() -> None:
    """The same fresh weights and random numbers in every run: PyTorch seeds itself anew in every process."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def pytorchs_own_arithmetic() -> Iterator[None]:
    """Undo what choose_device sets for the whole process."""
    yield
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def mnist() -> data.Digits:
    """MNIST. Where DIGITS_DATA_DIR promises it, a test that needs it never skips."""
    try:
        return data.load("mnist")
    except UserError:
        if os.environ.get("DIGITS_DATA_DIR"):
            raise
        pytest.skip("needs MNIST, which is neither on disk nor to be downloaded")


@pytest.fixture(scope="session")
def optdigits() -> data.Digits:
    """The embedded set, which is always there."""
    return data.load("optdigits")


@pytest.fixture(scope="session")
def small_recipe() -> recipes.Recipe:
    """A published recipe, 784-128-10, in two epochs."""
    return recipes.get("mlp_128_adam", epochs=2)


@pytest.fixture(scope="session")
def trained(optdigits, small_recipe):
    """(model, history) of the short recipe on the embedded set. Do not change the model."""
    return training.fit(models.build(small_recipe), optdigits, small_recipe, quiet=True)


@pytest.fixture(scope="session")
def network() -> Recognizer:
    """The network that comes with the package for people's own digits."""
    return Recognizer.load()


@pytest.fixture(scope="session")
def doubtful() -> Recognizer:
    """Reads everything as a 5 (54 %) or a 9 (44 %), and refuses what is less clear."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    probabilities = torch.full((10,), 0.02 / 8)
    probabilities[5], probabilities[9] = 0.54, 0.44
    torch.nn.init.zeros_(model[1].weight)
    model[1].bias.data = probabilities.log()
    return Recognizer(model, rejection_threshold=2.0)


@pytest.fixture
def network_alone(monkeypatch) -> None:
    """The network of single digits reads those of a page too, whatever PageNet takes them for."""
    monkeypatch.setattr(page_reading, "combine", lambda glyph, prediction: prediction)


@pytest.fixture
def write_record() -> Callable[..., None]:
    """write_record(folder, recipe, seed, accuracy) writes a record whose second epoch was the best."""

    def write(folder: Path, recipe: recipes.Recipe, seed: int, accuracy: float) -> None:
        rows = [
            {
                "epoch": epoch, "train_loss": 0.1, "train_accuracy": 0.99, "held_out": "test", "held_out_loss": 0.1,
                "held_out_accuracy": accuracy + (0.005 if epoch == 2 else 0), "seconds": 1.0,
            }
            for epoch in range(1, recipe.epochs + 1)
        ]  # fmt: skip
        scores = {"count": 10_000, "correct": round(accuracy * 10_000), "loss": 0.08, "mean_of_batch_means": 0.09}
        record = {**records.identity(recipe, seed), "history": rows, "weights": "0" * 64}
        scores["accuracy"] = scores["correct"] / scores["count"]
        records.save(record_store.record_path(folder, recipe, seed), record | {"scores": scores})

    return write


@pytest.fixture
def no_network(monkeypatch) -> None:
    """Every connection is refused at once, in this process and in those that it starts."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.fixture
def cluster(tmp_path):
    """A Dask scheduler and two workers, processes of their own: (address, scheduler, workers)."""
    pytest.importorskip("distributed", reason="optional: pip install -e .[cluster]")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    worker = ["worker", address, "--nthreads", "1", "--no-nanny"]
    processes = [
        subprocess.Popen([sys.executable, "-m", "dask", *command, "--no-dashboard"], **quiet)
        for command in (["scheduler", "--host", "127.0.0.1", "--port", port], worker, worker)
    ]
    yield address, processes[0], processes[1:]
    for process in processes:
        process.kill()
        process.wait(timeout=30)


@pytest.fixture
def command(monkeypatch, capsys):
    """Call digits in this process. Returns exit status, standard output, standard error."""
    from digit_recognizer.cli import main

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["digits", *map(str, arguments)])
        status = 0
        try:
            main.start()
        except SystemExit as ended:
            status = ended.code
        return status, *capsys.readouterr()

    return call
