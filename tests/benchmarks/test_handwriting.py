"""The trial of trainings for people's own digits: what it measures of a network, and its record."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.trials import handwriting
from digit_recognizer import data
from digit_recognizer.data import test_sets

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "src/digit_recognizer/pretrained/cnn_handwriting.pth"


@pytest.fixture
def few(optdigits, monkeypatch):
    """Few digits everywhere."""
    pictures, labels = test_sets.pictures_of("optdigits-original")
    monkeypatch.setattr(test_sets, "pictures_of", lambda name: (pictures[:20], labels[:20]))
    monkeypatch.setattr(data, "load", lambda *_, **__: optdigits)
    monkeypatch.setattr(handwriting, "DAMAGED", 20)


def test_a_network_is_measured_and_its_line_kept(few, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    bar = np.full((90, 90), 255, np.uint8)
    bar[20:70, 41:48] = 0
    Image.fromarray(bar).save(folder / "bar.png")
    Image.fromarray(np.full((90, 90), 255, np.uint8)).save(folder / "blank.png")
    for name, text in {
        "digits.csv": "file,label,group\nbar.png,1,a\nblank.png,3,a\n",
        "multi.csv": "file,label\nbar.png,1\n",
        "nondigits.csv": "file,what\nbar.png,letter\nblank.png,blank paper\n",
    }.items():
        (folder / name).write_text(text)
    monkeypatch.setattr("sys.argv", ["handwriting", str(SHIPPED), "--pictures", str(folder), "--out", str(tmp_path)])
    for _ in range(2):  # the line is replaced
        handwriting.main()
    (row,) = json.loads((tmp_path / "trials/handwriting.json").read_text())["networks"].values()
    assert row["strangers"][0] | {"wrong": 0} == {
        "digits": [1, 2], "rows": [1, 1], "letters": [1, 1], "others": [0, 1], "wrong": 0,
    }  # fmt: skip
    assert "blank" in row["strangers"][0]["wrong"]["blank.png"]
    assert row["validation_accuracy"] > 0.9 and 0 <= row["mean_error_damaged"] < 1
    assert row["optdigits-original"]["digits"] == 20 and row["settings"]["augmentation"]["styles"] == 0.5
    assert "bar.png" not in capsys.readouterr().err


def test_the_committed_record_holds_the_shipped_network_and_docs_show_it(network):
    networks = json.loads((ROOT / "results/trials/handwriting.json").read_text())["networks"]
    page = (ROOT / "docs/experiments.md").read_text(encoding="utf-8")
    assert network.model.about["weights"] in networks
    for row in networks.values():
        read = row["optdigits-original"]
        letters, digits = (sum(folder[name][0] for folder in row["strangers"]) for name in ("letters", "digits"))
        cells = (
            f"{row['validation_accuracy']:.2%}", f"{row['mean_error_damaged']:.1%}",
            str(read["wrong"] + read["refused"]), str(digits), str(letters),
        )  # fmt: skip
        assert f"| {' | '.join(cells)} |" in page, cells
