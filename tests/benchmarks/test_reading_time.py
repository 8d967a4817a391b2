"""The time to read pictures: what is read, in which process, and the table."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import harness, reading_time
from digit_recognizer import data

ROOT = Path(__file__).parents[2]


@pytest.fixture
def digits(optdigits):
    return optdigits.test


def test_the_photographs_are_paper_with_these_digits(digits, network):
    pictures = [reading_time.make_picture(digits, np.array([[index]]), (480, 480), 160, index) for index in range(20)]
    assert all(picture.shape == (480, 480) and picture.dtype == np.uint8 for picture in pictures)
    right = sum(network.predict(picture).digit == int(digits.labels[index]) for index, picture in enumerate(pictures))
    assert right >= 16
    again = reading_time.make_picture(digits, np.array([[3]]), (480, 480), 160, 3)
    assert np.array_equal(again, pictures[3])


def test_a_digit_a_page_and_commands_take_time(digits, monkeypatch, tmp_path):
    monkeypatch.setattr(reading_time, "DIGITS", 2)
    assert len(reading_time.time_digits(digits, 2)) == 2
    Image.fromarray(reading_time.make_picture(digits, np.array([[1, 2]]), (300, 500), 60, 0)).save(
        tmp_path / "page.png"
    )
    page = harness.run_in_process("a page", "reading_time", tmp_path / "page.png", 1)
    assert len(page["milliseconds"]) == 1 and page["megabytes"] > 50
    monkeypatch.setattr(reading_time, "PICTURE", (240, 320))
    monkeypatch.setattr(reading_time, "HEIGHT", 60)
    commands = reading_time.time_commands(digits, 1, count=3)
    assert commands["pictures"] == 3 and set(commands["seconds_by_workers"]) == {"1", "2"}


def test_all_is_measured_shown_and_saved(monkeypatch, tmp_path, capsys, optdigits):
    monkeypatch.setattr(data, "load", lambda *_: optdigits)
    monkeypatch.setattr(harness, "run_in_process", lambda *_, **__: {"milliseconds": [250.0], "megabytes": 221.4})
    monkeypatch.setattr(reading_time, "PAGE", (600, 1000))
    monkeypatch.setattr(reading_time, "HEIGHT", 60)
    monkeypatch.setattr(reading_time, "time_digits", lambda *_: [20.0, 18.0, 19.0])
    commands = {"pictures": 400, "seconds_by_workers": {"1": [6.0, 6.0], "2": [3.0, 4.0]}}
    monkeypatch.setattr(reading_time, "time_commands", lambda *_: commands)
    reading_time.run(tmp_path)
    shown = capsys.readouterr().out
    assert "one digit, milliseconds: 19.00 (18.00 to 20.00)" in shown and "megabytes: 221" in shown
    assert "times as fast: 1.75 (1.50 to 2.00)" in shown
    saved = json.loads((tmp_path / "benchmark.json").read_text())["reading_time"]
    assert saved["commands"] == commands and saved["made_with"]["device"] == "cpu"


def test_the_page_on_speed_shows_the_committed_record():
    committed = json.loads((ROOT / "results/benchmark.json").read_text())["reading_time"]
    assert reading_time.table(committed) in (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    assert committed["page_megabytes"] < 1000
