"""Targets of known pages, the loss, and a training that resumes."""

import copy
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from digit_recognizer import data
from digit_recognizer.cli import main, train_pages
from digit_recognizer.data import pages, sources
from digit_recognizer.page_reader import checkpoints, detection, measurement, reader, training
from digit_recognizer.page_reader.maps import STRIDE, Maps
from digit_recognizer.page_reader.network import CLASSES, PageNet
from digit_recognizer.recipes import page_reader
from digit_recognizer.recipes.page_reader import PageRecipe
from digit_recognizer.runtime import provenance
from digit_recognizer.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
TINY = PageRecipe(widths=(4, 4, 8, 8), head=8, epochs=2, pages_per_epoch=8, batch_size=4, precision="float32")


def page_of(*boxes: tuple[float, float, float, float], visible: bool = True) -> pages.Page:
    count = len(boxes)
    image = np.zeros((pages.SIDE, pages.SIDE), np.uint8)
    return pages.Page(
        image,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.arange(count),
        np.zeros(count, int),
        np.full(count, visible),
    )


def perfect(targets: training.Targets) -> Maps:
    """Maps that say what the targets want, in a batch of one."""
    label = torch.nn.functional.one_hot(targets.label.clamp(min=0), CLASSES).permute(2, 0, 1).float() * 40
    centre = torch.where(targets.centre == 1, 20.0, -20.0)
    return Maps(centre[None, None], label[None], targets.offset[None], targets.size[None])


def batch(targets: training.Targets) -> training.Targets:
    return training.Targets(*(part[None] for part in targets))


def test_the_centre_and_size_of_a_glyph_are_its_targets():
    targets = training.make_targets(page_of((40, 60, 60, 100)))
    assert (targets.centre == 1).nonzero().tolist() == [[20, 12]]  # the centre (50, 80) in cells of 4 pixels
    assert targets.label[20, 12] == 0 and (targets.label >= 0).sum() < 12
    middle = (torch.tensor([12, 20]) + 0.5 + targets.offset[:, 20, 12]) * STRIDE
    assert middle.tolist() == [50, 80]
    assert (targets.size[:, 20, 12].exp() * STRIDE).tolist() == pytest.approx([20, 40])
    assert (targets.weight == 1).all()


@pytest.mark.parametrize(
    ("box", "ignored"), [((50, 50, 54, 55), False), ((50, 50, 55, 59), True), ((20, 20, 60, 120), True)]
)
def test_glyphs_that_are_too_small_or_large_are_left_open_or_are_none(box, ignored):
    targets = training.make_targets(page_of(box))
    assert (targets.centre == 0).all() and (targets.label == -1).all()
    assert bool((targets.weight == 0).any()) is ignored


def test_what_cannot_be_seen_is_left_open():
    targets = training.make_targets(page_of((40, 60, 60, 100), visible=False))
    assert (targets.centre == 0).all() and targets.weight[20, 12] == 0 and targets.weight[0, 0] == 1


def test_the_loss_of_a_perfect_answer_is_nothing_and_each_part_sees_its_mistake():
    targets = training.make_targets(page_of((40, 60, 60, 100), (90, 60, 100, 100)))
    maps = perfect(targets)
    assert training.loss(maps, batch(targets)).tolist() == pytest.approx([0, 0, 0, 0], abs=1e-3)
    wrong = {
        "centre": maps._replace(centre=-maps.centre),
        "class": maps._replace(classes=maps.classes.roll(1, 1)),
        "offset": maps._replace(offset=maps.offset + 1),
        "size": maps._replace(size=maps.size + 1),
    }
    for place, (name, mistaken) in enumerate(wrong.items()):
        losses = training.loss(mistaken, batch(targets)).tolist()
        assert [loss > 0.5 for loss in losses] == [each == place for each in range(4)], name


def test_a_page_without_glyphs_has_a_finite_loss(optdigits):
    targets = batch(training.make_targets(page_of()))
    maps = PageNet(TINY)(torch.rand(1, 1, pages.SIDE, pages.SIDE))
    assert training.loss(maps, targets).isfinite().all()


def test_training_resumes_to_the_same_weights_whatever_the_workers(optdigits, tmp_path):
    states = []
    whole, history = training.fit(
        TINY, optdigits.train, 1, workers=0, quiet=True, on_epoch=lambda state: states.append(copy.deepcopy(state))
    )
    assert len(history) == len(states) == 2 and set(training.LOSSES) <= history[0].keys()
    checkpoints.save_progress(tmp_path / "a.pth", TINY, 1, states[0])
    resume = checkpoints.load_progress(tmp_path / "a.pth", TINY, 1)
    resumed, _ = training.fit(TINY, optdigits.train, 1, workers=2, quiet=True, resume=resume)
    assert provenance.weights_hash(resumed) == provenance.weights_hash(whole)
    other, _ = training.fit(TINY, optdigits.train, 2, workers=0, quiet=True)
    assert provenance.weights_hash(other) != provenance.weights_hash(whole)
    with pytest.raises(UserError, match="other settings"):
        checkpoints.load_progress(tmp_path / "a.pth", TINY, 2)
    with pytest.raises(UserError, match="nothing to resume"):
        checkpoints.load_progress(tmp_path / "b.pth", TINY, 1)
    with pytest.raises(UserError, match="does not fit"):
        training.fit(TINY, optdigits.train, 1, workers=0, quiet=True, resume={"model": {}})


def test_the_learning_rate_rises_and_falls():
    rates = [training.learning_rate(page_reader.get(), progress) for progress in (0, 0.05, 0.1, 0.55, 1)]
    assert rates == pytest.approx([0, 0.002, 0.004, 0.002, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "at least 1"),
        ({"learning_rate": -1.0}, "greater than 0"),
        ({"batch_size": 10**6}, "larger than"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        page_reader.get(**changes)


def test_a_page_reader_is_saved_in_half_the_bytes_and_read_again(tmp_path):
    model = PageNet(TINY)
    checkpoints.save(tmp_path / "a.pth", model, TINY, {"seed": 0})
    loaded, record = checkpoints.load(tmp_path / "a.pth")
    assert provenance.weights_hash(loaded) == provenance.weights_hash(checkpoints.round_weights(model))
    assert record == {"seed": 0} and not loaded.training
    for one, other in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=1e-3)
    with pytest.raises(UserError, match="not a page reader"):
        checkpoints.load(reader.SHIPPED.with_name("cnn_best.pth"))


def test_the_shipped_page_reader_is_the_one_of_the_record():
    record = json.loads((ROOT / "results/page_reader/mnist-seed0.json").read_text())
    assert reader.SHIPPED.stat().st_size < 2_000_000
    assert reader.pretrained().record == record
    assert record["settings"] == page_reader.get().settings and record["md5"] == sources.MNIST_MD5
    assert sum(parameter.numel() for parameter in PageNet(page_reader.get()).parameters()) == 909_456
    assert record["synthetic_pages"]["found"] > 0.9 * record["synthetic_pages"]["digits"]
    assert record["empty_pages"]["given_a_digit"] <= 0.03 * record["empty_pages"]["pages"]


def test_the_command_trains_saves_and_resumes(optdigits, tmp_path, monkeypatch):
    monkeypatch.setattr(page_reader, "PageRecipe", lambda: TINY)
    monkeypatch.setattr(measurement, "PAGE_COUNT", 4)
    monkeypatch.setattr(measurement, "EMPTY_COUNT", 2)
    monkeypatch.setattr(data, "load", lambda *_, **__: optdigits)
    monkeypatch.setattr(train_pages, "_calibrate", lambda *_: [0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    monkeypatch.setattr("sys.argv", ["digits", "train", "--recipe", "page_reader", "--quiet", "--out", str(tmp_path)])
    main.main()
    model, saved = checkpoints.load(tmp_path / "optdigits_page_reader.pth")
    record = json.loads((tmp_path / "runs/page_reader/optdigits-seed0.json").read_text())
    assert saved == record and len(record["history"]) == 2
    assert reader.of_network(model, saved).calibration == [0, 1, 0, 0, 0, 0]
    assert not (tmp_path / "runs/page_reader/optdigits-seed0.progress.pth").exists()
    monkeypatch.setattr("sys.argv", [*sys.argv, "--resume"])
    with pytest.raises(UserError, match="nothing to resume"):
        main.main()


def test_an_exported_page_reader_finds_what_pytorch_finds_and_keeps_its_record(command, tmp_path):
    torch.manual_seed(0)
    model = PageNet(TINY).eval()
    checkpoints.save(tmp_path / "a.pth", model, TINY, {"calibration": [1, 2, 3, 4, 5, 6], "weights": "abc"})
    status, out, err = command("export", tmp_path / "a.pth", "--format", "onnx", "--out", tmp_path / "a.onnx")
    assert (status, err) == (0, "") and "maps as PyTorch's, weights in float16" in out and out.count("\n") == 1
    exported = reader.load(tmp_path / "a.onnx")
    assert exported.record == {"calibration": [1, 2, 3, 4, 5, 6], "weights": "abc"}
    grey = np.random.default_rng(0).random((70, 130), np.float32)
    for shape in ((32, 32), (64, 160)):
        picture = np.ascontiguousarray(np.resize(grey, shape))[None, None]
        pairs = zip(exported.compute_maps(picture), reader.of_network(model).compute_maps(picture), strict=True)
        assert all(np.abs(one - other).max() < 0.02 * max(1, np.abs(other).max()) for one, other in pairs)
    assert detection.find_glyphs(exported.compute_maps, grey) == []
    status, _, err = command("predict", "--model", tmp_path / "a.onnx", tmp_path / "a.pth")
    assert status == 2 and "reads no single digits" in err
    with pytest.raises(UserError, match="finds no digits on pages"):
        reader.load(reader.SHIPPED.with_name("cnn_handwriting.onnx"))
