"""digits export --format html: the file holds the network, and nothing that it cannot. A browser is not needed here."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from digit_recognizer import checkpoints, data, evaluation, export, export_html, models, recipes
from digit_recognizer.runtime.errors import UserError

PAGE = Path(__file__).parents[1] / "docs/draw.html"
SHIPPED = checkpoints.PRETRAINED / "cnn_handwriting.pth"


def network_in(content: bytes) -> dict:
    """What a page says of its network."""
    return json.loads(re.search(r'<script id="network" type="application/json">(.*?)</script>', content.decode())[1])


def test_the_page_in_docs_is_what_the_command_writes(command, tmp_path):
    path = tmp_path / "draw.html"
    status, out, err = command("export", SHIPPED, "--format", "html", "--out", path)
    assert (status, err, out.count("\n")) == (0, "", 1) and out.startswith(f"wrote {path}: ")
    same = path.read_bytes() == PAGE.read_bytes()
    assert same, f"run: digits export {SHIPPED.relative_to(PAGE.parents[1])} --format html --out docs/draw.html"
    assert len(PAGE.read_bytes()) <= 800_000


@pytest.mark.parametrize("calibration", ["no", {"temperature": 1.0}, {"temperature": 0, "rejection_threshold": 0.1}])
def test_a_calibration_that_is_none_is_refused_in_one_line(calibration, command, trained, small_recipe, tmp_path):
    checkpoints.save(tmp_path / "model.pth", trained[0], small_recipe, {"calibration": calibration})
    status, _, err = command("export", tmp_path / "model.pth", "--format", "html", "--out", tmp_path / "page.html")
    assert status == 2 and "has no usable calibration" in err and err.count("\n") == 1


def test_the_calibration_travels_along():
    checkpoint = checkpoints.load(SHIPPED)
    about, calibration = export.description(checkpoint), checkpoint.record["calibration"]
    network = network_in(export_html.write(checkpoint.model, about))
    for name in ("temperature", "rejection_threshold"):
        assert network[name] == calibration[name]
    assert network["name"] == "cnn_handwriting"
    network = network_in(export_html.write(checkpoint.model, {}))
    assert (network["temperature"], network["rejection_threshold"]) == (1, 0)


@pytest.mark.parametrize(
    "recipe", ["mlp_128_64_adam_200ep", "mlp_128_64_adam_10ep_softmax", "cnn_in_seconds", "mlp_best"]
)
def test_a_page_gives_pytorchs_logits_and_the_network_stays_as_it_was(recipe, optdigits, tmp_path):
    model = models.build(recipes.get(recipe))
    model(data.to_pixels(optdigits.train.images[:100]))  # moves the running means off their first values
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert export.write(tmp_path / "page.html", model, "html", {}) <= export_html.TOLERANCE
    content, images = (tmp_path / "page.html").read_bytes(), optdigits.test.images[:100]
    assert model.training and all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert export_html.write(model, {}) == content  # the same bytes again
    expected, found = evaluation.predict(model.eval(), images), export_html.logits(content, images)
    assert float((found - expected).abs().max()) <= export_html.TOLERANCE * max(1, float(expected.abs().max()))


def test_weights_are_rounded_to_float16_and_nothing_else_is(optdigits):
    model = nn.Sequential(models.Normalize(0.5, 0.25), nn.Flatten(), nn.Linear(784, 10))
    model[2].weight.data = model[2].weight.data.half().float()
    images = optdigits.test.images[:10]
    found = export_html.logits(export_html.write(model, {}), images)
    assert torch.allclose(found, evaluation.predict(model, images), atol=1e-6)


def test_no_name_ends_the_script(trained):
    content = export_html.write(trained[0], {"recipe": "</script><script>alert(1)</script>"})
    assert network_in(content)["name"] == "</script><script>alert(1)</script>"
    assert content.count(b"</script>") == PAGE.read_bytes().count(b"</script>") == 2


def test_the_page_names_no_address_and_forbids_itself_the_network():
    text = export_html.TEMPLATE.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"<script[^>]* src=|@import|url\(|localStorage|sessionStorage|indexedDB|cookie|webgl", text)
    addresses = set(re.findall(r"https?://[^\s'\"`$]*", text))
    assert addresses == {"http://www.w3.org/2000/svg", "https://github.com/"}  # a name, and where the link leads


def large() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 5200), nn.Linear(5200, 10))


def heavy() -> nn.Module:
    model = models.MLP([784, 10])
    model[2].weight.data[0, 0] = 1e5
    return model


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (large, "the network has more than 4,000,000 numbers, too many for html; export it as onnx"),
        (heavy, "the network has weights above 65,504, which html cannot hold"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Sigmoid()), "it has a layer Sigmoid()"),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 2, 3, dilation=2), nn.Flatten(), nn.Linear(1152, 10)),
            "a layer Conv2d(1, 2",
        ),
        (
            lambda: nn.Sequential(nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(169, 10)),
            "a layer MaxPool2d(kernel_size=3",
        ),
        (lambda: models.Residual(nn.Conv2d(1, 1, 3, padding=1), nn.BatchNorm2d(1)), "it has a layer Residual("),
        (lambda: nn.Sequential(models.Enlarge(32), nn.Flatten(), nn.Linear(1024, 10)), "it has a layer Enlarge()"),
    ],
)
def test_a_network_that_html_cannot_hold_is_refused_in_one_line(build, words, tmp_path):
    with pytest.raises(UserError) as refused:
        export.write(tmp_path / "page.html", build(), "html", {})
    assert words in str(refused.value) and "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_page_that_would_read_otherwise_is_not_written(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(export_html, "TOLERANCE", 0.0)
    with pytest.raises(UserError, match="is not written: its logits would be off by"):
        export.write(tmp_path / "page.html", trained[0], "html", {})
    assert not list(tmp_path.iterdir())


def test_a_bare_state_dict_becomes_a_page(command, optdigits, tmp_path):
    layer = nn.Linear(784, 10)
    torch.save({"fc1.weight": layer.weight.data, "fc1.bias": layer.bias.data}, tmp_path / "bare.pth")
    call = ("export", tmp_path / "bare.pth", "--format", "html", "--out", tmp_path / "page.html")
    assert command(*call, "--mean", 0.5, "--std", 0.25)[0] == 0
    network = network_in((tmp_path / "page.html").read_bytes())
    assert network["layers"][0] == {"kind": "normalize", "mean": 0.5, "std": 0.25, "shapes": {}}
    assert np.isclose(network["temperature"], 1)
