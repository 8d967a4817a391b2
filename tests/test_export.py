"""digits export: what other programs read is what PyTorch computed and saved."""

import json
import sys

import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from digit_recognizer import checkpoints, data, evaluation, export, models, recipes
from digit_recognizer.recipes.recipe import Convolution
from digit_recognizer.runtime.errors import UserError

FORMATS = ["onnx", "safetensors"]  # test_export_html.py has the third
OLD = b"an older file"


@pytest.fixture
def saved(trained, small_recipe, tmp_path):
    """A model of ours on disk."""
    checkpoints.save(tmp_path / "model.pth", trained[0], small_recipe, {"dataset": "optdigits"})
    return tmp_path / "model.pth"


def logits_of_file(path, images) -> torch.Tensor:
    """What onnxruntime reads from a file: float32 (n, 10)."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"pixels": data.to_pixels(images).numpy()})[0])


def one_line(out: str, path) -> bool:
    size = f"wrote {path}: {path.stat().st_size / 1000:,.0f} kB;"
    return out.startswith(size) and out.endswith("n = 1,000 digits of optdigits\n") and out.count("\n") == 1


def test_an_onnx_file_gives_pytorchs_logits_and_says_what_goes_in_and_out(
    command, saved, trained, optdigits, small_recipe, tmp_path
):
    path = tmp_path / "digits.onnx"
    status, out, err = command("export", saved, "--format", "onnx", "--out", path)
    assert (status, err) == (0, "") and one_line(out, path)
    for count in (1, 360):
        expected = evaluation.predict(trained[0], optdigits.test.images[:count])
        found = logits_of_file(path, optdigits.test.images[:count])
        assert found.shape == (count, 10) and torch.equal(found.argmax(1), expected.argmax(1))
        assert torch.allclose(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path)
    ends = [(end.name, end.type.tensor_type) for end in (*model.graph.input, *model.graph.output)]
    assert [name for name, _ in ends] == ["pixels", "logits"]
    assert all(kind.elem_type == onnx.TensorProto.FLOAT for _, kind in ends)
    shapes = [[side.dim_param or side.dim_value for side in kind.shape.dim] for _, kind in ends]
    assert shapes == [["n", 1, 28, 28], ["n", 10]]
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about["recipe"] == "mlp_128_adam" and about["dataset"] == "optdigits"
    assert json.loads(about["recipe_fields"])["widths"] == list(small_recipe.widths)
    written = path.read_bytes()  # nothing of our folders
    assert not [word for word in (b"site-packages", b"models.py", b"pkg.torch", b"stack_trace") if word in written]


def test_a_safetensors_file_holds_the_state_dict_bit_for_bit_and_says_what_it_is(command, saved, trained, tmp_path):
    path = tmp_path / "digits.safetensors"
    status, out, err = command("export", saved, "--format", "safetensors", "--out", path)
    assert (status, err) == (0, "") and one_line(out, path) and "difference 0.0e+00" in out
    weights, expected = load_file(path), trained[0].state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert round(float(weights["0.mean"]), 4) == 0.1307
    with safe_open(path, "pt") as file:
        about = file.metadata()
    assert (about["format"], about["recipe"], about["dataset"]) == ("pt", "mlp_128_adam", "optdigits")
    assert json.loads(about["recipe_fields"])["epochs"] == 2


@pytest.mark.parametrize("format", FORMATS)
def test_a_bare_state_dict_is_exported_with_its_normalisation(command, optdigits, format, tmp_path):
    layer, path = models.MLP([784, 10])[2], tmp_path / "digits"
    torch.save({"fc1.weight": layer.weight.data, "fc1.bias": layer.bias.data}, tmp_path / "bare.pth")
    call = ("export", tmp_path / "bare.pth", "--format", format, "--out", path)
    assert "give --mean and --std" in command(*call)[2]
    assert command(*call, "--mean", 0.5, "--std", 0.25)[0] == 0
    images = optdigits.test.images
    if format == "safetensors":
        weights = load_file(path)
        assert (float(weights["0.mean"]), float(weights["0.deviation"])) == (0.5, 0.25)
    else:
        expected = layer((images.flatten(1) / 255 - 0.5) / 0.25).detach()
        assert torch.allclose(logits_of_file(path, images), expected, atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_a_convolutional_network_is_exported_with_its_running_means_and_stays_as_it_was(format, optdigits, tmp_path):
    model = models.build(recipes.get("cnn_in_seconds"))
    model(data.to_pixels(optdigits.train.images[:100]))  # moves the running mean and variance off their first values
    assert export.write(tmp_path / "file", model, format, {}) <= 1e-5
    assert model.training and not model[3].running_mean.equal(torch.zeros(16))
    if format == "onnx":
        expected = evaluation.predict(model, optdigits.test.images)
        assert torch.allclose(logits_of_file(tmp_path / "file", optdigits.test.images), expected, atol=1e-5)
    else:
        assert load_file(tmp_path / "file")["3.running_mean"].equal(model[3].running_mean)


@pytest.mark.parametrize("format", FORMATS)
def test_a_network_that_enlarges_digits_and_has_residual_layers_is_exported(format, optdigits, tmp_path):
    layers = (Convolution(4, size=5), Convolution(4, residual=True, pool=True), Convolution(4, residual=True))
    model = models.build(recipes.get("cnn_wide", convolutions=layers, widths=(4 * 14 * 14, 10)))
    model(data.to_pixels(optdigits.train.images[:100]))
    assert export.write(tmp_path / "file", model, format, {}) <= 1e-5
    if format == "onnx":
        expected = evaluation.predict(model, optdigits.test.images)
        assert torch.allclose(logits_of_file(tmp_path / "file", optdigits.test.images), expected, atol=1e-5)


@pytest.mark.parametrize(("format", "reader"), [("onnx", "_onnx_logits"), ("safetensors", "_safetensors_logits")])
def test_a_file_that_reads_otherwise_or_a_network_that_diverged_is_not_written(
    format, reader, trained, tmp_path, monkeypatch
):
    diverged = models.MLP([784, 10])
    nn.init.constant_(diverged[2].bias, float("nan"))
    with pytest.raises(UserError, match="not finite numbers; train it again"):
        export.write(tmp_path / "file", diverged, format, {})
    read = getattr(export, reader)
    monkeypatch.setattr(export, reader, lambda *arguments: read(*arguments) * 1.0001)
    with pytest.raises(UserError, match=r"is not written: its logits would be off by 1\.0e-04"):
        export.write(tmp_path / "file", trained[0], format, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("model.pth --format gguf --out new", "unknown format 'gguf'; there are onnx, safetensors and html"),
        ("model.pth --format onnx --out folder", "folder is a folder"),
        ("model.pth --format safetensors --out old/new", "cannot write old/new"),
        ("model.pth --format onnx --out model.pth", "is the model itself"),
        ("model.pth --format safetensors --out folder/../model.pth", "is the model itself"),
        ("model.pth --format onnx --out new --mean 0", "leave out --mean and --std"),
        ("nowhere.pth --format onnx --out new", "cannot read nowhere.pth"),
        ("old --format onnx --out new", "old is not a model file, is damaged"),
        ("model.pth --out new", "required: --format"),
        ("model.pth --format onnx", "required: --out"),
    ],
)
def test_a_mistake_ends_in_one_line_and_changes_nothing(command, saved, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "old").write_bytes(OLD)
    before = saved.read_bytes()
    status, out, err = command("export", *arguments.split())
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "model.pth", "old"]
    assert (saved.read_bytes(), (tmp_path / "old").read_bytes()) == (before, OLD)


@pytest.mark.parametrize(("format", "package"), [(name, one) for name in FORMATS for one in export.PACKAGES[name]])
def test_a_missing_package_is_named_with_the_way_to_get_it(command, saved, format, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    status, out, err = command("export", saved, "--format", format, "--out", tmp_path / "new")
    assert (status, out, err.count("\n")) == (2, "", 1)
    extra = "." if package == "onnxruntime" else "'.[export]'"
    assert f"{package} is not installed" in err and f"pip install {extra}" in err
    assert not (tmp_path / "new").exists()
