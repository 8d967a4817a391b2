"""The digits command: help, the command that was meant, exit statuses; and evaluate, which scores a saved model."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from digit_recognizer import __version__, checkpoints, data, evaluation, recipes, records
from digit_recognizer.cli.main import COMMANDS
from digit_recognizer.cli.parser import run_main
from digit_recognizer.data import test_sets
from digit_recognizer.recognition import calibration

MAIN = [sys.executable, "-m", "digit_recognizer"]
PRETRAINED = checkpoints.PRETRAINED / "mlp_512_256_adam_5ep.pth"
RECORDS = Path(__file__).parents[2] / "results/evaluation"


def test_without_arguments_it_prints_its_help(command):
    status, out, err = command()
    assert (status, err) == (0, "")
    assert out == command("--help")[1]
    assert all(f"\n    {name} " in out for name in COMMANDS)
    assert command("--version") == (0, f"digits {__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_prints_it_where_arguments_are_missing(command, name):
    status, out, err = command(name, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: digits {name} ") and COMMANDS[name][1].__doc__.split(",")[0] in " ".join(out.split())
    if name in ("predict", "evaluate", "export", "compare", "verify"):
        assert command(name) == (2, "", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("predct",), "unknown command 'predct'; did you mean predict?"),
        (("figurse", "--out", "x"), "unknown command 'figurse'; did you mean figures?"),
        ((__file__,), f"did you mean: digits predict {__file__}?"),
        (("measure",), f"unknown command 'measure'; there are {', '.join(COMMANDS)}"),
        (("--colour",), "unrecognized arguments: --colour (see --help)"),
        (("evaluate", "nowhere.pth"), "cannot read nowhere.pth"),
        (("evaluate", "."), "is a folder"),
        (("evaluate", "--json", "x"), "required: MODEL"),
        (("evaluate", "a.pth", "--mean", "x"), "invalid float value"),
        (("evaluate", PRETRAINED, "--dataset", "hwd-100"), "unknown data set 'hwd-100'; there are mnist, qmnist"),
        (
            ("train", "--dataset", "hwd-1000"),
            "hwd-1000 is for `digits evaluate` alone; to train on, there are mnist, qm",
        ),
        (("study", "--seeds", "0"), "at least 1"),
        (("study", "--recipes", "mlp_128_adan"), "the nearest is mlp_128_adam"),
    ],
    ids=str,
)
def test_a_mistake_ends_in_one_line_and_status_two(command, arguments, words):
    status, out, err = command(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err


def test_only_training_runs_in_several_processes(command, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    status, _, err = command("figures")
    assert status == 2 and "only training runs in several processes" in err


def test_the_module_is_the_command(command):
    ran = subprocess.run([*MAIN, "--help"], capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stdout, ran.stderr) == (*command("--help")[:2], "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_sigterm_ends_a_command_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        run_main(lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert (ended.value.code, capsys.readouterr().err) == (143, "\nstopped by SIGTERM; no file is left half-written\n")


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX has pipes that break")
def test_a_reader_that_goes_away_ends_the_command_quietly():
    program = "from digit_recognizer.cli.parser import run_main; run_main(lambda: print('a line\\n' * 100_000))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"a line\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=300) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_output_that_cannot_be_written_costs_one_line():
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([*MAIN, "train", "--list"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert (ran.returncode, ran.stderr) == (2, "error: output: No space left on device\n")


def record_of(network: str, name: str) -> dict:
    """The committed scores of a network on a test set."""
    return json.loads((RECORDS / network / f"{name}.json").read_text())


@pytest.fixture
def saved(trained, small_recipe, optdigits, tmp_path):
    """(path, scores) of a saved model."""
    model, history = trained
    scores = evaluation.score(evaluation.predict(model, optdigits.test.images), optdigits.test.labels)
    record = records.describe(small_recipe, optdigits, 0, model, history, scores)
    checkpoints.save(tmp_path / "model.pth", model, small_recipe, record)
    return tmp_path / "model.pth", scores


def test_a_saved_model_is_scored_on_its_own_set_as_it_was_after_training(command, saved, tmp_path):
    path, scores = saved
    status, out, err = command("evaluate", path, "--json", tmp_path / "scores.json")
    assert (status, err) == (0, "")
    assert "optdigits, n = 360 test digits (nothing is published" in out
    assert "MNIST" not in out
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["dataset"] == "optdigits"
    assert (written["count"], written["correct"], written["accuracy"]) == (360, scores.correct, scores.correct / 360)
    assert written["loss"] == pytest.approx(scores.mean_loss, rel=1e-6)


def test_a_bare_state_dict_gives_the_same_scores_with_its_normalisation(command, saved, trained, tmp_path):
    linear = [layer for layer in trained[0] if isinstance(layer, torch.nn.Linear)]
    state = {f"fc{i}.{name}": value for i, layer in enumerate(linear, 1) for name, value in layer.state_dict().items()}
    torch.save(state, tmp_path / "bare.pth")
    normalised = ("--mean", 0.1307, "--std", 0.3081, "--dataset", "optdigits", "--json", tmp_path / "bare.json")
    assert command("evaluate", tmp_path / "bare.pth", *normalised)[0] == 0
    assert json.loads((tmp_path / "bare.json").read_text())["correct"] == saved[1].correct
    status, _, err = command("evaluate", tmp_path / "bare.pth", "--dataset", "optdigits")
    assert status == 2 and "give --mean and --std" in err
    status, _, err = command("evaluate", saved[0], "--mean", "0.5")
    assert status == 2 and "leave out --mean and --std" in err


def test_a_model_trained_on_another_set_is_not_compared_with_what_is_published(command, saved, mnist):
    status, out, _ = command("evaluate", saved[0], "--dataset", "mnist")
    assert status == 0
    assert "MNIST, n = 10,000 test digits (nothing is published" in out
    assert "97.00%" not in out


def test_a_model_of_the_published_training_is_compared_with_what_is_published(command, trained, mnist, tmp_path):
    recipe = recipes.get("mlp_128_adam")
    scores = evaluation.score(evaluation.predict(trained[0], mnist.test.images), mnist.test.labels)
    record = records.describe(recipe, mnist, 0, *trained, scores)
    checkpoints.save(tmp_path / "model.pth", trained[0], recipe, record)
    status, out, _ = command("evaluate", tmp_path / "model.pth")
    assert status == 0
    assert f"the published 97.00% and this run's {scores.accuracy:.2%} lie below the spread of seeds" in out


def test_help_names_the_sets_for_testing_alone_where_they_can_be_used(command):
    shown = {name: " ".join(command(name, "--help")[1].split()) for name in ("evaluate", "train")}
    assert all(name in shown["evaluate"] and name not in shown["train"] for name in data.TEST_SETS)


def test_calibration_is_printed_and_written_without_and_with_the_files_temperature(command, tmp_path):
    model = checkpoints.PRETRAINED / "cnn_handwriting.pth"
    status, out, err = command("evaluate", model, "--dataset", "hwd-1000", "--json", tmp_path / "scores.json")
    assert (status, err) == (0, "")
    found, expected = json.loads((tmp_path / "scores.json").read_text()), record_of("cnn_handwriting", "hwd-1000")
    assert out.startswith("hwd-1000, n = 1,000 test digits") and found["md5"] == expected["md5"]
    checkpoint, (images, labels) = checkpoints.load(model), test_sets.load_test("hwd-1000")[0]
    logits, temperature = evaluation.predict(checkpoint.model, images), checkpoint.record["calibration"]["temperature"]
    error, calibrated = (
        calibration.calibration_error((logits / divisor).softmax(1), labels) for divisor in (1, temperature)
    )
    assert found["calibration_error"] == error and f"\ncalibration error: {error:.2%}\n" in out
    loss = evaluation.score(logits / temperature, labels).mean_loss
    assert found["calibrated"] == {"temperature": temperature, "loss": loss, "calibration_error": calibrated}
    assert f"\nwith the file's temperature: test loss {loss:.4f}, calibration error {calibrated:.2%}\n" in out


def test_each_kind_of_damage_and_their_mean_are_printed_and_are_those_of_the_record(command, mnist, tmp_path):
    status, out, err = command("evaluate", PRETRAINED, "--dataset", "mnist-c", "--json", tmp_path / "scores.json")
    assert (status, err) == (0, "")
    found, expected = json.loads((tmp_path / "scores.json").read_text()), record_of(PRETRAINED.stem, "mnist-c")
    head, *lines = out.splitlines()
    assert head == "MNIST damaged as in MNIST-C, n = 10,000 test digits of each kind: error"
    errors = {**found["errors"], "mean": found["mean_error"]}
    assert [line.split() for line in lines] == [[*kind.split("_"), f"{error:.2%}"] for kind, error in errors.items()]
    assert found["errors"] == pytest.approx(expected["errors"], abs=0.001)  # another processor may round otherwise
    assert found["mean_error"] == pytest.approx(sum(found["errors"].values()) / 15)
    assert found["md5"] == mnist.md5


@pytest.mark.parametrize("network", [path.stem for path in checkpoints.PRETRAINED.glob("*.pth")])
@pytest.mark.parametrize("name", ["mnist", *data.TEST_SETS])
def test_there_is_a_record_of_each_network_in_the_package_on_each_test_set(network, name):
    """docs/recipes.md says how to make it again after a training."""
    record = record_of(network, name)
    assert (record["dataset"], record["weights"]) == (name, checkpoints.pretrained(network).record["weights"])
    assert record["made_with"]["commit"] and record["made_with"]["changed"] is False


@pytest.mark.usefixtures("no_network")
def test_a_model_is_never_scored_on_another_data_set_unasked(command, tmp_path):
    status, out, err = command("evaluate", PRETRAINED, "--data-dir", tmp_path / "empty")
    assert status == 2 and "test accuracy" not in out
    assert err.startswith("error: MNIST is not in ") and "or give --dataset optdigits, which is always there\n" in err
    assert command("evaluate", PRETRAINED, "--data-dir", tmp_path / "empty", "--dataset", "optdigits")[0] == 0
