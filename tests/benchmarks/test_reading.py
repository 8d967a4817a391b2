"""The measurement of reading: pairs that touch, its calibration error, and a quick run of all of it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from benchmarks import reading

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "results/reading.json"


def test_pairs_touch_or_overlap(mnist):
    pairs = list(reading.make_pairs(mnist.test, 60))
    assert all(len(pair.text) == 2 and pair.image.dtype == np.uint8 for pair in pairs)
    # A digit may consist of two parts, and soft edges may part those that just touch.
    joined = [ndimage.label(pair.image < 160, np.ones((3, 3)))[1] == 1 for pair in pairs]
    assert np.mean(joined) > 0.8


def test_the_calibration_error_of_worked_examples():
    confidences = np.repeat([0.5, 1.0], 50)
    assert reading.calibration_error(confidences, np.tile([True, False], 50)) == pytest.approx(0.25)
    assert reading.calibration_error(confidences, np.r_[np.tile([True, False], 25), np.ones(50, bool)]) < 0.06


def test_a_quick_run_measures_everything(mnist, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    from PIL import Image

    digit = np.pad(255 - mnist.test.images[0].numpy().repeat(3, 0).repeat(3, 1), 20, constant_values=255)
    Image.fromarray(digit).save(folder / "seven.png")
    Image.fromarray(np.full((80, 80), 255, np.uint8)).save(folder / "blank.png")
    for name, rows in {
        "digits.csv": [("file", "label", "group"), ("seven.png", "7", "a")],
        "multi.csv": [("file", "label"), ("seven.png", "7")],
        "nondigits.csv": [("file", "what"), ("blank.png", "blank paper")],
    }.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    arguments = ["reading", "--quick", "--pictures", str(folder), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    reading.main()
    record = json.loads(capsys.readouterr().out)
    assert record["pictures"][0]["digits"]["right"] == 1
    assert record["pictures"][0]["numbers"]["right"] == 1
    assert record["pictures"][0]["without_a_digit"]["given_a_digit"] == 0
    assert record["touching_pairs"]["pairs"] == 20 and record["touching_pairs"]["right"] >= 12
    assert not (tmp_path / "reading.json").exists()


def test_the_committed_record_is_as_good_as_the_docs_say():
    record, page = json.loads(COMMITTED.read_text()), (ROOT / "docs/own_digits.md").read_text(encoding="utf-8")
    pairs, empty, rows = (record[name] for name in ("touching_pairs", "empty_paper", "synthetic_rows"))
    assert pairs["right"] >= 0.8 * pairs["pairs"] and f"{pairs['right']:,}" in page
    assert max(empty["given_a_digit"], empty["given_a_number"]) <= 0.02 * empty["pictures"]
    assert f"{empty['given_a_digit']} are given a digit, {empty['given_a_number']} a number" in page
    assert rows["calibration_error"] <= 0.05 and f"{rows['calibration_error']:.1%} (n = {rows['pages']})" in page
    numbers = [each["numbers"] for each in record["pictures"]]
    right, pictures, turned, all_turned = (
        sum(each[name] for each in numbers) for name in ("right", "pictures", "turned_right", "turned")
    )
    assert f"{right} of {pictures}" in page and f"{turned} of {all_turned}" in page
    assert [each["sure_and_wrong"] for each in numbers] == [[], []]
