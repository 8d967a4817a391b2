"""Reading with the network in the package needs neither PyTorch nor any other package of the extras."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from digit_recognizer import checkpoints, data, evaluation, models, recipes
from digit_recognizer.onnx_model import OnnxModel
from digit_recognizer.recognition import recognizer
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.packages import EXTRAS

# Runs the command line in a process in which no package of an extra can be imported.
PROGRAM = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {[name for names in EXTRAS.values() for name in names]}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from digit_recognizer.cli.main import start
start()
"""


def without_extras(*arguments: object) -> tuple[int, str, str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture(scope="module")
def picture(mnist, tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "7.png"
    Image.fromarray(255 - mnist.test.images[0].numpy()).resize((280, 280), Image.Resampling.BICUBIC).save(path)
    return path


def test_pictures_are_read(picture):
    status, out, err = without_extras("predict", "--json", picture)
    assert (status, err, json.loads(out)["digit"]) == (0, "", 7)
    status, out, err = without_extras("predict", "--number", "--workers", 2, picture)
    assert status == 0 and "  7  " in out


def test_reading_leaves_nothing_behind_and_reports_to_nobody(picture, tmp_path):
    """onnxruntime would leave an identifier of the machine at home, beside a queue of what it is to send."""
    names = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "USERPROFILE", "LOCALAPPDATA")
    quiet = ("CI", "ORT_DISABLE_TELEMETRY")  # unset, as on a machine where nobody has thought of it
    kept = {name: value for name, value in os.environ.items() if name not in quiet}
    command = [sys.executable, "-c", PROGRAM, "predict", "--number", str(picture)]
    environment = {**kept, **dict.fromkeys(names, str(tmp_path))}
    subprocess.run(command, check=True, capture_output=True, timeout=120, env=environment)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (("evaluate", "x.pth"), "torch", "train"),
        (("predict", "--model", "x.pth", "PICTURE"), "torch", "train"),
        (("predict", "--show", "figures", "PICTURE"), "matplotlib", "train"),
        (("train",), "torch", "train"),
        (("export", "x.pth", "--format", "onnx", "--out", "x.onnx"), "torch", "train"),
    ],
)
def test_a_command_that_needs_more_says_which_package_and_how_to_get_it(arguments, package, extra, picture, tmp_path):
    given = [picture if each == "PICTURE" else tmp_path / each if each == "figures" else each for each in arguments]
    status, out, err = without_extras(*given)
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert f"{package} is not installed" in err and f"pip install '.[{extra}]'" in err
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("flags", [(), ("--number",)])
def test_without_onnxruntime_one_line_says_what_to_install(flags, picture, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    status, out, err = command("predict", *flags, picture)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err == "error: onnxruntime is not installed; in the folder of this project, run: pip install .\n"


def test_the_onnx_file_and_the_pth_file_of_the_package_are_one_network(mnist):
    checkpoint, shipped = checkpoints.pretrained(recognizer.SHIPPED), Recognizer()
    expected = evaluation.predict(checkpoint.model, mnist.test.images[:1000]).numpy()
    assert np.abs(shipped.logits(mnist.test.images[:1000].numpy()) - expected).max() < 1e-4 * np.abs(expected).max()
    assert shipped.model.about["weights"] == checkpoint.record["weights"]
    assert json.loads(shipped.model.about["calibration"]) == checkpoint.record["calibration"]
    assert (shipped.temperature, shipped.rejection_threshold) == (
        checkpoint.record["calibration"]["temperature"], checkpoint.record["calibration"]["rejection_threshold"],
    )  # fmt: skip


@pytest.mark.parametrize("name", ["mlp_128_adam", "cnn_in_seconds", "softmax"])
@pytest.mark.parametrize("format", ["onnx", "safetensors"])
def test_what_export_wrote_is_read_again_with_its_calibration(name, format, command, optdigits, tmp_path):
    recipe = recipes.get("mlp_128_adam", output="softmax") if name == "softmax" else recipes.get(name)
    model, calibration = models.build(recipe).eval(), {"temperature": 2.0, "rejection_threshold": 0.25}
    checkpoints.save(tmp_path / "a.pth", model, recipe, {"dataset": "optdigits", "calibration": calibration})
    folder = tmp_path / "exported"
    folder.mkdir()
    status, _, err = command("export", tmp_path / "a.pth", "--format", format, "--out", folder / f"a.{format}")
    assert (status, err) == (0, "")
    original, images = Recognizer.load(tmp_path / "a.pth"), optdigits.test.images[:50].numpy()
    for path in (folder / f"a.{format}", folder):
        again = Recognizer.load(path)
        assert (again.temperature, again.rejection_threshold) == (2.0, 0.25)
        assert np.allclose(again.logits(images), original.logits(images), atol=1e-4)


def test_files_and_folders_without_a_network_are_refused_in_one_line(tmp_path, optdigits):
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    (tmp_path / "broken.safetensors").write_bytes(b"no network")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("broken.onnx", "is no ONNX file of a network, or is damaged"), ("absent.onnx", "cannot be read"),
        ("broken.safetensors", "is no safetensors file of a network, or is damaged"),
        ("empty", "holds no network, or several"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            Recognizer.load(tmp_path / name)
    with pytest.raises(UserError, match="leave out --mean and --std"):
        Recognizer.load(recognizer.SHIPPED_FILE, 0.1, 0.3)


def test_a_safetensors_file_of_another_program_is_read_with_its_normalisation(tmp_path):
    from safetensors.torch import save_file

    save_file({"fc1.weight": torch.zeros(10, 784), "fc1.bias": torch.arange(10.0)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="give --mean and --std"):
        Recognizer.load(tmp_path / "a.safetensors")
    loaded = Recognizer.load(tmp_path / "a.safetensors", 0.1, 0.3)
    assert loaded.logits(np.zeros((1, 28, 28), np.uint8))[0].tolist() == list(range(10))


def test_an_onnx_model_computes_on_one_thread_what_its_file_says():
    model = OnnxModel(recognizer.SHIPPED_FILE)
    assert model.input_shape[1:] == [1, 28, 28] and model.output_names == ["logits"]
    pixels = data.to_pixels(torch.zeros(3, 28, 28, dtype=torch.uint8)).numpy()
    (logits,) = model(pixels)
    assert logits.shape == (3, 10) and np.array_equal(logits[0], logits[2])
