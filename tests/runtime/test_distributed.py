"""Several processes train what one trains: the same batches, weights equal to rounding, each digit counted once.

torchrun starts this very file as a script, too: `main` is what each of its processes then does.
"""

import dataclasses
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from digit_recognizer import checkpoints, data, evaluation, models, recipes, training
from digit_recognizer.cli.parser import run_main
from digit_recognizer.recipes.recipe import Augmentation, Convolution, Recipe
from digit_recognizer.runtime import distributed, provenance
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError

SCRIPT = Path(__file__).parents[2] / "mnist_recognition.py"
SHORT = ("--dataset", "optdigits", "--recipe", "mlp_128_adam", "--epochs", "1", "--device", "cpu")
COUNT = 3  # processes
ROUNDING = {"mlp": 1e-5, "cnn": 1e-8}  # by which a weight may differ; in float32, and in float64 up to the loss
TRAINED = {
    "mlp": recipes.get("mlp_128_adam", epochs=2),  # of 719 digits, batches of 64, the last of 15
    "cnn": Recipe(
        name="small", source="this test", dataset="optdigits",
        convolutions=(Convolution(8, 5), Convolution(16, 3, pool=True)), widths=(16 * 12 * 12, 10), batch_norm=True,
        epochs=2, batch_size=359,  # the last of one digit: nothing is left of it for the other processes
        optimizer="sgd", momentum=0.9, learning_rate=0.05, schedule="triangle", label_smoothing=0.1,
        augmentation=Augmentation(rotation=10, shift=1, elastic=1, contrast=0.5, hard_edges=0.2),
        epochs_without_augmentation=1,
    ),
}  # fmt: skip
# Elsewhere PyTorch's own support differs: its builds for Windows, say, cannot open torchrun's store.
needs_torchrun = pytest.mark.skipif(sys.platform != "linux", reason="torchrun is tested on Linux")


def main() -> None:
    """What one of several processes does. The first one saves the results in a folder."""
    distributed.init_process_group()
    choose_device("cpu")
    if sys.argv[2:] == ["kill"] and not distributed.is_main_process():
        os.kill(os.getpid(), signal.SIGKILL)
    folder, digits = Path(sys.argv[1]), data.load("optdigits")
    results = train(digits) | {"resumed": resume(folder, digits)}
    if distributed.is_main_process():
        torch.save(results, folder / "results.pth")


def gather(value) -> list:
    """The value of every process, in order."""
    values = [value] * distributed.world_size()
    if len(values) > 1:
        torch.distributed.all_gather_object(values, value)
    return values


class Double(torch.nn.Module):
    """Lets a network compute in float64: sums over many places err so much in float32 that little could be compared."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.double()


def train(digits: data.Digits) -> dict:
    """Train the recipes in as many processes as there are, and predict many digits and few."""
    results: dict = {"shards": gather(distributed.shard(torch.arange(64)).tolist())}
    few = dataclasses.replace(digits, train=digits.train.take(torch.arange(719)))
    for name, recipe in TRAINED.items():
        model = models.build(recipe)
        if name == "cnn":
            model = torch.nn.Sequential(Double(), model.double())
        kept: list = []
        model, history = training.fit(model, few, recipe, quiet=True, on_epoch=kept.append)
        results[name] = {
            "weights": model.state_dict(),
            "history": history,
            "hashes": gather(provenance.weights_hash(model)),
            "generators": gather(kept[-1]["generator"]),
            "scores": evaluation.score(evaluation.predict(model, digits.test.images), digits.test.labels),
            "few": evaluation.predict(model, digits.test.images[:2]),
            "plain": not any("forward" in vars(layer) for layer in model.modules()),
        }
    return results


def resume(folder: Path, digits: data.Digits) -> bool:
    """Whether one epoch, a pause with a progress file, and another give the weights of two epochs."""
    recipe, run = TRAINED["mlp"], (TRAINED["mlp"], "optdigits", 0)
    keep = functools.partial(checkpoints.save_progress, folder / "progress.pth", *run)
    training.fit(models.build(recipe), digits, dataclasses.replace(recipe, epochs=1), quiet=True, on_epoch=keep)
    gather(None)  # the main process has written it
    start = checkpoints.load_progress(folder / "progress.pth", *run)
    ends = [training.fit(models.build(recipe), digits, recipe, quiet=True, resume=state)[0] for state in (start, None)]
    return provenance.weights_hash(ends[0]) == provenance.weights_hash(ends[1])


def torchrun(count: int, *arguments: str | Path) -> subprocess.CompletedProcess:
    """Run a script in several processes of this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=200, env=environment())


def environment(**more: str) -> dict[str, str]:
    """This process's variables and more, with which another finds the package."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | more


@needs_torchrun
def test_several_processes_train_what_one_trains(optdigits, tmp_path):
    ran = torchrun(COUNT, __file__, tmp_path)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    together = torch.load(tmp_path / "results.pth", weights_only=False)
    choose_device("cpu")  # with it the kernels, on whose rounding it depends which pixels have hard edges
    alone = train(optdigits)

    # every row in one process, in equal shares
    assert [row for shard in together["shards"] for row in shard] == alone["shards"][0] == list(range(64))
    assert [len(shard) for shard in together["shards"]] == [22, 21, 21]
    assert together["resumed"]
    for name in TRAINED:
        ours, theirs = together[name], alone[name]
        # equal weights in all processes, and the layers are PyTorch's own again
        assert list(ours["weights"]) == list(theirs["weights"])
        for key, weights in theirs["weights"].items():
            torch.testing.assert_close(ours["weights"][key], weights, rtol=0, atol=ROUNDING[name])
        assert len(ours["hashes"]) == COUNT and len(set(ours["hashes"])) == 1 and ours["plain"]
        # each draws the random numbers that one process draws
        assert all(torch.equal(state, theirs["generators"][0]) for state in ours["generators"])
        # each digit is counted once
        assert (ours["scores"].correct, ours["scores"].count) == (theirs["scores"].correct, 360)
        assert ours["scores"].loss == pytest.approx(theirs["scores"].loss, rel=1e-6)
        torch.testing.assert_close(ours["few"], theirs["few"], rtol=1e-5, atol=1e-5)
        for row, expected in zip(ours["history"], theirs["history"], strict=True):
            for field in ("train_loss", "held_out_loss"):
                assert row[field] == pytest.approx(expected[field], rel=1e-6)
            for field in ("epoch", "train_accuracy", "held_out", "held_out_accuracy"):
                assert row[field] == expected[field]


@needs_torchrun
def test_the_script_prints_and_writes_once_and_records_the_processes(tmp_path):
    ran = torchrun(2, SCRIPT, *SHORT, "--out", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert [line.split()[0] for line in ran.stdout.splitlines()][:3] == ["mlp_128_adam:", "epoch", "optdigits,"]
    assert ran.stdout.count("test accuracy") == ran.stdout.count("saved ") == 1
    left = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.[!p]*")]
    assert left == ["runs/mlp_128_adam/optdigits-seed0.json"] and len(list(tmp_path.rglob("*.png"))) == 6
    record = json.loads((tmp_path / left[0]).read_text())
    assert (record["made_with"]["processes"], record["scores"]["count"]) == (2, 360)
    assert provenance.weights_hash(checkpoints.load_model(tmp_path / "optdigits_model.pth")) == record["weights"]


@needs_torchrun
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--batch-size", "1"), "a batch of 1 cannot be shared by 2 processes"),
        (("--out", "file"), "cannot write to the folder"),  # only the first process tries
    ],
    ids=str,
)
def test_a_mistake_ends_all_processes_with_one_line(flags, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    ran = torchrun(2, SCRIPT, *SHORT, *flags)
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert words in line
    assert ran.returncode == 1 and "exitcode  : 2 " in ran.stderr  # torchrun's own status, and that of ours
    assert not Path("runs").exists()


@needs_torchrun
def test_a_process_that_is_killed_ends_the_others(tmp_path):
    ran = torchrun(2, __file__, tmp_path, "kill")
    assert ran.returncode == 1 and "SIGKILL" in ran.stderr
    assert not (tmp_path / "results.pth").exists()


@needs_torchrun
def test_a_port_in_use_and_a_missing_variable_end_in_one_line(monkeypatch):
    started_by_hand = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        variables = environment(**started_by_hand, MASTER_PORT=str(server.getsockname()[1]))
        command = [sys.executable, str(SCRIPT), *SHORT]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=100, env=variables)
    assert (ran.returncode, ran.stdout, ran.stderr.count("error: ")) == (2, "", 1)
    assert "cannot join" in ran.stderr and "address already in use" in ran.stderr
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UserError, match=r"^[^\n]*RANK expected, but not set[^\n]*$"):
        distributed.init_process_group()


@pytest.mark.parametrize(("kind", "places"), [(torch.nn.BatchNorm1d, ()), (torch.nn.BatchNorm2d, (5, 5))])
def test_batch_norm_over_one_shard_is_pytorchs_own(kind, places, monkeypatch):
    ours, theirs = kind(3).double(), kind(3).double()
    values = torch.randn(6, 3, *places, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 100
    inputs = [values.clone().requires_grad_() for _ in range(2)]
    monkeypatch.setattr(distributed, "_world_size", 2)
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor)
    with distributed.sync_batch_norm(ours):
        results = [layer(pixels) for layer, pixels in zip((ours, theirs), inputs, strict=True)]
    for result in results:
        (result.sin() * values).sum().backward()
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(pixels.grad for pixels in inputs))
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert ours(values).equal(theirs(values))  # outside, PyTorch's own again


def test_a_single_process_passes_through_untouched():
    tensor = torch.arange(3.0)
    assert distributed.world_size() == 1 and distributed.is_main_process()
    assert (
        distributed.shard(tensor) is distributed.all_gather_rows(tensor, 3) is distributed.all_reduce(tensor) is tensor
    )
    assert not torch.distributed.is_initialized()


if __name__ == "__main__":
    run_main(main)
