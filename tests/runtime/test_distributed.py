"""Two and three processes train what one trains: the same batches, weights equal to rounding, each digit counted once.

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
FIGURES = {"digits", "training_curves", "confusion_matrix", "prediction_grid", "mistakes", "first_layer"}
ROUNDING = {"mlp": 1e-5, "cnn": 1e-8}  # by which a weight may differ; in float32, and in float64 up to the loss
TRAINED = {
    "mlp": recipes.get("mlp_128_adam", epochs=2),  # batches of 64, the last of 29
    "cnn": Recipe(
        name="small",
        source="this test",
        convolutions=(Convolution(8, 5), Convolution(16, 3, pool=True)),
        widths=(16 * 12 * 12, 10),
        batch_norm=True,
        epochs=2,
        batch_size=359,  # the last of one digit: nothing is left of it for the second process
        optimizer="sgd",
        momentum=0.9,
        learning_rate=0.05,
        schedule="triangle",
        label_smoothing=0.1,
        augmentation=Augmentation(rotation=10, shift=1, elastic=1, contrast=0.5, hard_edges=0.2),
        epochs_without_augmentation=1,
        dataset="optdigits",
    ),
}


def main() -> None:
    """What one of several processes does; the first one saves what came out into the folder given."""
    distributed.init_process_group()
    choose_device("cpu")
    if sys.argv[2:] == ["kill"] and not distributed.is_main_process():
        os.kill(os.getpid(), signal.SIGKILL)
    folder, digits = Path(sys.argv[1]), data.load("optdigits")
    results = trained(digits) | {"resumed": resumed(folder, digits)}
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


def trained(digits: data.Digits) -> dict:
    """Train the recipes in as many processes as there are, and predict many digits and few."""
    results: dict = {"shares": gather(distributed.shard(torch.arange(64)).tolist())}
    for name, recipe in TRAINED.items():
        model = models.build(recipe)
        if name == "cnn":
            model = torch.nn.Sequential(Double(), model.double())
        kept: list = []
        model, history = training.fit(model, digits, recipe, quiet=True, on_epoch=kept.append)
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


def resumed(folder: Path, digits: data.Digits) -> str:
    """The hash of weights after one epoch, a pause with a progress file, and another."""
    recipe, run = TRAINED["mlp"], (TRAINED["mlp"], "optdigits", 0)
    keep = functools.partial(checkpoints.save_progress, folder / "progress.pth", *run)
    training.fit(models.build(recipe), digits, dataclasses.replace(recipe, epochs=1), quiet=True, on_epoch=keep)
    gather(None)  # the main process has written it
    start = checkpoints.load_progress(folder / "progress.pth", *run)
    return provenance.weights_hash(training.fit(models.build(recipe), digits, recipe, quiet=True, resume=start)[0])


# Elsewhere PyTorch's own support differs: its builds for Windows, say, cannot open torchrun's store.
needs_torchrun = pytest.mark.skipif(sys.platform != "linux", reason="torchrun is tested on Linux")


def torchrun(count: int, *arguments: str | Path, port: int | None = None) -> subprocess.CompletedProcess:
    """A script in that many processes of this machine; on a free port, or on the one given."""
    where = ["--standalone"] if port is None else ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    command = [sys.executable, "-m", "torch.distributed.run", *where, "--nproc-per-node", str(count), *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=100, env=environment())


def environment(**more: str) -> dict[str, str]:
    """This process's variables and more, with which another finds the package."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | more


def our_lines(text: str) -> list[str]:
    """The lines in which our commands name a mistake."""
    return [line for line in text.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def alone(optdigits) -> dict:
    """What one process trains."""
    choose_device("cpu")  # with it the kernels, on whose rounding it depends which pixels have hard edges
    return trained(optdigits)


@pytest.fixture(scope="module", params=[2, 3])
def together(request, tmp_path_factory) -> tuple[int, dict]:
    """(count, results) of two, then three processes."""
    if sys.platform != "linux":
        pytest.skip("torchrun is tested on Linux")
    folder = tmp_path_factory.mktemp("together")
    ran = torchrun(request.param, __file__, folder)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    return request.param, torch.load(folder / "results.pth", weights_only=False)


def test_shares_are_contiguous_whole_and_differ_by_one_at_most(together):
    count, results = together
    assert [number for share in results["shares"] for number in share] == list(range(64))
    assert len(results["shares"]) == count
    assert {len(share) for share in results["shares"]} <= {64 // count, 64 // count + 1}


@pytest.mark.parametrize("name", TRAINED)
def test_weights_are_those_of_one_process_to_rounding_and_the_same_in_all(name, alone, together):
    ours, theirs = together[1][name], alone[name]
    assert list(ours["weights"]) == list(theirs["weights"])
    for key, weights in theirs["weights"].items():
        torch.testing.assert_close(ours["weights"][key], weights, rtol=0, atol=ROUNDING[name])
    assert len(ours["hashes"]) == together[0] and len(set(ours["hashes"])) == 1
    assert ours["plain"]


@pytest.mark.parametrize("name", TRAINED)
def test_every_process_draws_the_random_numbers_of_one(name, alone, together):
    (expected,) = alone[name]["generators"]
    assert all(torch.equal(state, expected) for state in together[1][name]["generators"])


@pytest.mark.parametrize("name", TRAINED)
def test_scores_are_those_of_one_process(name, alone, together):
    ours, theirs = together[1][name], alone[name]
    assert (ours["scores"].correct, ours["scores"].count) == (theirs["scores"].correct, 360)
    assert ours["scores"].loss == pytest.approx(theirs["scores"].loss, rel=1e-6)
    torch.testing.assert_close(ours["few"], theirs["few"], rtol=1e-5, atol=1e-5)
    for row, expected in zip(ours["history"], theirs["history"], strict=True):
        for field in ("train_loss", "held_out_loss"):
            assert row[field] == pytest.approx(expected[field], rel=1e-6)
        for field in ("epoch", "train_accuracy", "held_out", "held_out_accuracy"):
            assert row[field] == expected[field]


def test_a_resumed_training_has_the_very_weights_of_one_that_was_not_stopped(together):
    assert together[1]["resumed"] == together[1]["mlp"]["hashes"][0]


@needs_torchrun
def test_the_script_prints_and_writes_once_and_records_the_processes(tmp_path):
    ran = torchrun(2, SCRIPT, *SHORT, "--out", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert [line.split()[0] for line in ran.stdout.splitlines()][:3] == ["mlp_128_adam:", "epoch", "optdigits,"]
    assert ran.stdout.count("test accuracy") == ran.stdout.count("saved ") == 1
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    figures = {f"figures/optdigits/{name}.png" for name in FIGURES}
    assert left == figures | {"optdigits_model.pth", "runs/mlp_128_adam/optdigits-seed0.json"}
    record = json.loads((tmp_path / "runs/mlp_128_adam/optdigits-seed0.json").read_text())
    assert (record["made_with"]["processes"], record["scores"]["count"]) == (2, 360)
    assert provenance.weights_hash(checkpoints.load_model(tmp_path / "optdigits_model.pth")) == record["weights"]


@needs_torchrun
def test_more_processes_than_a_batch_has_digits_end_with_one_line(tmp_path):
    ran = torchrun(2, SCRIPT, *SHORT, "--out", tmp_path, "--batch-size", "1")
    (line,) = our_lines(ran.stderr)
    assert "a batch of 1 cannot be shared by 2 processes" in line and "--batch-size" in line
    assert ran.returncode == 1 and "exitcode  : 2 " in ran.stderr  # torchrun's own status, and that of ours
    assert not (tmp_path / "runs").exists()


@needs_torchrun
def test_what_only_the_main_process_cannot_do_ends_all_with_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    ran = torchrun(2, SCRIPT, *SHORT, "--out", tmp_path / "file")
    (line,) = our_lines(ran.stderr)
    assert "cannot write to the folder" in line and ran.returncode == 1


@needs_torchrun
def test_a_process_that_is_killed_ends_the_others(tmp_path):
    ran = torchrun(2, __file__, tmp_path, "kill")
    assert ran.returncode == 1 and "SIGKILL" in ran.stderr
    assert not (tmp_path / "results.pth").exists()


@needs_torchrun
def test_a_port_that_is_taken_ends_at_once():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        by_torchrun = torchrun(2, SCRIPT, *SHORT, port=port)
        by_hand = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        command = [sys.executable, str(SCRIPT), *SHORT]
        variables = environment(**by_hand, MASTER_PORT=str(port))
        ran = subprocess.run(command, capture_output=True, text=True, timeout=100, env=variables)
    assert by_torchrun.returncode == 1 and str(port) in by_torchrun.stderr
    assert "in use" in by_torchrun.stderr and our_lines(by_torchrun.stderr) == []  # our script was not even begun
    assert (ran.returncode, ran.stdout, ran.stderr.count("error: ")) == (2, "", 1)
    assert "cannot join" in ran.stderr and "address already in use" in ran.stderr


def test_torchrun_without_its_variables_costs_one_line(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UserError, match="RANK expected, but not set") as caught:
        distributed.init_process_group()
    assert "\n" not in str(caught.value)


def test_other_commands_are_refused_under_torchrun(monkeypatch, command):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    status, out, err = command("evaluate", "mnist_model.pth")
    assert (status, out) == (2, "") and err.startswith("error: only training runs in several processes")


@pytest.mark.parametrize(("kind", "places"), [(torch.nn.BatchNorm1d, ()), (torch.nn.BatchNorm2d, (5, 5))])
def test_shared_statistics_of_one_share_are_pytorchs_own(kind, places, monkeypatch):
    ours, theirs = kind(3).double(), kind(3).double()
    values = torch.randn(6, 3, *places, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 100
    inputs = [values.clone().requires_grad_() for _ in range(2)]
    monkeypatch.setattr(distributed, "_world_size", 2)
    monkeypatch.setattr(distributed, "all_reduce", lambda terms: terms)
    with distributed.sync_batch_norm(ours):
        results = [layer(pixels) for layer, pixels in zip((ours, theirs), inputs, strict=True)]
    for result in results:
        (result.sin() * values).sum().backward()
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(pixels.grad for pixels in inputs))
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert ours(values).equal(theirs(values))  # outside, PyTorch's own again


def test_one_process_passes_through_untouched():
    tensor = torch.arange(3.0)
    assert distributed.world_size() == 1 and distributed.is_main_process()
    assert distributed.shard(tensor) is tensor and distributed.all_gather_rows(tensor, 3) is tensor
    assert distributed.all_reduce(tensor) is tensor
    assert not torch.distributed.is_initialized()


if __name__ == "__main__":
    run_main(main)
