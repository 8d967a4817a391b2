"""The page without a browser: what it says to good pictures, to bad ones, and to files that are not models."""

import csv
import io
import os
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import joblib
import pytest
import skimage.data
import streamlit as st
import torch
from page_client import claiming, encoded, picture
from PIL import Image
from streamlit.testing.v1 import AppTest

from digit_recognizer import checkpoints
from digit_recognizer.apps.web import model_list, page, reading, server
from digit_recognizer.preprocessing import image_io
from digit_recognizer.recognition import table
from digit_recognizer.recognition.prediction import Prediction
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError


@pytest.fixture
def app(monkeypatch, tmp_path) -> AppTest:
    """The page before its first run, with an empty folder of models."""
    monkeypatch.setenv(model_list.FOLDER_VARIABLE, str(tmp_path))
    return AppTest.from_file(str(server.PAGE), default_timeout=60)


def upload(app: AppTest, files: dict[str, bytes]) -> AppTest:
    app.run().file_uploader[0].set_value([(*file, "image/png") for file in files.items()]).run()
    assert not app.exception
    return app


def answer(app: AppTest) -> str:
    """The text of the large answer, parts divided by blanks."""
    answers = [element.proto.body for element in app.get("html") if 'class="answer"' in element.proto.body]
    return " ".join(re.sub("<[^>]+>", " ", " ".join(answers)).split())


def captions(app: AppTest) -> list[str]:
    return [caption for image in app.get("image") for caption in image.captions]


def lines(elements) -> list[str]:
    """The text of boxes, without Markdown's backslashes."""
    return [element.value.replace("\\", "") for element in elements]


def test_a_digit_is_read_and_every_step_shown(app):
    upload(app, {"seven.png": picture("7")})
    read = re.fullmatch(r"Read as the digit 7 (?:&gt;)?([\d.]+)% sure: .+", answer(app))
    assert read and 50 < float(read[1]) < 100
    steps = ["Your picture.", "The ink found; grey ink was left out.", "What the network saw: 28 x 28 pixels."]
    assert captions(app) == steps
    assert all(image.HasField("alt") and image.alt for element in app.get("image") for image in element.proto.imgs)
    (bars,) = (element.proto.body for element in app.get("html") if "<table" in element.proto.body)
    assert re.findall(r'<th scope="row"[^>]*>(\d)</th>', bars) == list("0123456789")
    assert lines(app.info) == ["Noticed in the picture: dark on light, inverted."]
    app.toggle[0].set_value(True).run()
    assert answer(app).startswith("Read as the number 7")


def test_several_digits_are_read_as_a_number_even_unasked_and_decoded_once(app):
    with mock.patch.object(image_io, "read", wraps=image_io.read) as read:
        upload(app, {"number.png": picture("470")})
    assert read.call_count == 1
    all_of_it, least = re.fullmatch(r"Read as the number 470 (.+)% sure of all of it; least (.+)", answer(app)).groups()
    page, *digits = captions(app)
    assert page.startswith("Your picture and what was read. Blue: sure; yellow with a question mark: doubtful;")
    assert [re.sub(r"\?|,.*", "", caption) for caption in digits] == ["#1: 4", "#2: 7", "#3: 0"]
    confidences = [float(re.search(r"([\d.]+)%", text)[1]) for text in digits]
    weakest = confidences.index(min(confidences))
    assert least.startswith(f"sure of #{weakest + 1}: {'470'[weakest]}, {confidences[weakest]}%")
    assert float(all_of_it.replace("&gt;", "")) <= min(confidences)


def test_a_doubt_is_said_in_words(app, doubtful, monkeypatch, network_alone):
    monkeypatch.setattr(Recognizer, "read", doubtful.read)
    upload(app, {"seven.png": picture("7")})
    assert answer(app) == "Read as the digit 5 , or 9 54.0% sure: little more than a guess"
    assert any("more than one digit: 5 or 9 (44.0%)" in caption.value for caption in app.caption)
    upload(app, {"seven.png": picture("7"), "number.png": picture("70")})
    notes = list(app.dataframe[0].value["warnings"])
    assert [note.split(";")[0] for note in notes] == ["or 9 (44.0%)", "#1: 5 or 9 (44.0%), #2: 5 or 9 (44.0%)"]


def test_the_doubts_of_a_number_are_said_in_words(app, doubtful, monkeypatch, network_alone):
    monkeypatch.setattr(Recognizer, "read", doubtful.read)
    upload(app, {"number.png": picture("70")})
    said = r"Read as the number 55 \d\d\.\d% sure of all of it; least sure of #1: 5, 54\.0%, or 9 \(44\.0%\)"
    assert re.fullmatch(said, answer(app))
    assert captions(app)[1:] == ["#1: 5?, 54.0%, or 9 (44.0%)", "#2: 5?, 54.0%, or 9 (44.0%)"]


def test_rows_are_lines_and_what_was_not_read_is_a_warning_of_its_own(app, monkeypatch):
    read_number = Recognizer.read_number

    def read_in_part(recognizer, source):
        number = read_number(recognizer, source)
        first, second = number.predictions
        lower = second._replace(preprocessed=second.preprocessed._replace(row=1))
        rows = {"rows": ("7", "0"), "numbers": (("7",), ("0",)), "predictions": (first, lower)}
        return number._replace(**rows, unread=("2 shapes in row 1 were not read",))

    monkeypatch.setattr(Recognizer, "read_number", read_in_part)
    upload(app, {"number.png": picture("70")})
    (heading,) = (element.proto.body for element in app.get("html") if 'class="answer"' in element.proto.body)
    assert "7<br>0" in heading
    assert lines(app.warning) == ["Not all of the page was read: 2 shapes in row 1 were not read."]
    assert lines(app.info) == ["Noticed in the picture: dark on light, inverted."]
    assert "each row on its line" in captions(app)[0]
    assert [text.value for text in app.markdown if text.value.startswith("Row")] == ["Row 1", "Row 2"]


def test_a_shape_unlike_a_digit_is_marked_within_a_number(app, monkeypatch, network_alone):
    read = Recognizer.read

    def unsure_of_the_second(recognizer, digits):  # whichever of the three the page reader finds first
        predictions = read(recognizer, digits)
        if len(predictions) == 1:
            return predictions
        refused = {"digit": None, "confidence": 0.2, "reason": "not like a digit"}
        return [each._replace(**refused) if each.digit == 7 else each for each in predictions]

    monkeypatch.setattr(Recognizer, "read", unsure_of_the_second)
    upload(app, {"number.png": picture("470")})
    assert re.fullmatch(r"Read as the number 4\?0 [\d.]+% sure of all that was read; #2 was not read", answer(app))
    assert captions(app)[2] == "#2: no digit"


def test_many_files_make_a_table_with_a_line_for_what_is_not_a_picture(app):
    bad = {
        "notes.txt": (b"hello", "notes.txt is not a picture that can be read"),
        "empty.png": (b"", "empty.png is not a picture that can be read"),
        "cut.png": (picture("7")[:200], "cannot read cut.png"),
        "dot.png": (encoded(Image.new("L", (1, 1))), "dot.png has only 1 x 1 pixels"),
        "huge.png": (claiming(40_000, 40_000), "huge.png has more than 120 million pixels"),
        "blank.png": (picture(""), "refused: blank"),
    }
    contents = {name: content for name, (content, _) in bad.items()}
    upload(app, {"seven.png": picture("7"), "number.png": picture("470"), **contents})
    assert app.subheader[0].value == "2 of 8 pictures were read"
    shown = app.dataframe[0].value
    assert tuple(shown.columns) == table.COLUMNS
    assert list(shown["file"]) == ["seven.png", "number.png", *bad]
    assert list(shown["read"]) == ["7", "470", *[""] * len(bad)]
    for warnings, (_, expected) in zip(shown["warnings"][2:], bad.values(), strict=True):
        assert warnings.removeprefix("unreadable: ").startswith(expected) and "\n" not in warnings


def test_a_single_bad_picture_is_one_line_and_its_name_cannot_format_the_page(app):
    (error,) = upload(app, {"![x](http://a.example/b) :red[c] $d$ <b>.png": b"no"}).error
    assert r"\!\[x\]\(http\://a" in error.value and r"\$d\$ \<b\>" in error.value
    assert "is not a picture" in error.value and "\n" not in error.value and not answer(app)


def test_a_blank_picture_is_refused_and_shown(app):
    upload(app, {"blank.jpg": picture("", form="JPEG")})
    (line,) = lines(app.warning)
    assert line.startswith("There is nothing to read") and "try again" in line
    assert len(app.get("image")) == 2 and not answer(app)


def test_the_downloaded_table_cannot_carry_formulas():
    names = {
        "=HYPERLINK(1)": "'=HYPERLINK(1)", "+1.png": "'+1.png", "-1.png": "'-1.png", "@a.png": "'@a.png",
        'a,"b".png': 'a,"b".png', 'a,"@b.png': "a,\"'@b.png", "plain.png": "plain.png", "a; =1.png": "a; '=1.png",
        "＝1.png": "'＝1.png", " \t=1": "'=1", "exe\u202egnp.png": "exe?gnp.png",
    }  # fmt: skip
    rows = [reading.table_row(None, name, b"no") for name in names]  # what is not a picture needs no network
    written = list(csv.DictReader(io.StringIO(table.to_csv(rows).decode("utf-8-sig"))))
    assert [row["file"] for row in written] == list(names.values())
    assert not [cell for row in written for cell in row.values() if cell.startswith(tuple("=+-@＝\t\r\n"))]


def test_a_trained_network_is_chosen_first_and_a_changed_one_loaded_again(app, trained, small_recipe, tmp_path):
    path = tmp_path / "mnist_model.pth"
    checkpoints.save(path, trained[0], small_recipe, {"calibration": {"temperature": 1.0, "rejection_threshold": 0.1}})
    upload(app, {"seven.png": picture("7")})
    assert (app.selectbox[0].options, app.selectbox[0].value) == ([model_list.SHIPPED, path.name], path.name)
    assert answer(app)
    before = path.stat()
    checkpoints.save(path, trained[0], small_recipe, {"calibration": {"temperature": 1.0, "rejection_threshold": 1e3}})
    os.utime(path, ns=(before.st_mtime_ns,) * 2)  # as `cp -p` and an atomic rename leave it
    assert path.stat().st_size == before.st_size
    assert lines(app.run().warning)[0].startswith("This does not look like a handwritten digit")
    # On a page of several digits PageNet has a say, too.
    upload(app, {"number.png": picture("470")})
    assert answer(app).startswith("Read as the number")


def test_a_file_that_is_not_a_model_or_has_gone_is_one_line(app, tmp_path):
    path = tmp_path / "mnist_model.pth"
    path.write_bytes(b"no network")
    (line,) = lines(app.run().error)
    assert "mnist_model.pth is not a model file" in line and "choose another network" in line and not app.exception
    path.unlink()
    assert not app.run().exception
    app.selectbox[0].set_value(model_list.SHIPPED).run()
    assert not app.error


def test_a_prediction_computes_with_one_thread(app, tmp_path, trained, small_recipe):
    """By a network of one's own, which PyTorch computes; the one in the package always has one thread."""
    checkpoints.save(tmp_path / page.DEFAULT_MODEL, trained[0], small_recipe, {"dataset": "optdigits"})
    st.cache_resource.clear()
    torch.set_num_threads(2)
    upload(app, {"seven.png": picture("7")})
    with ThreadPoolExecutor(1) as another_visitors:
        assert another_visitors.submit(torch.get_num_threads).result() == 1
    torch.set_num_threads(1)


def test_no_more_pictures_are_read_at_once_than_there_are_cores():
    cores, at_once, most = joblib.cpu_count(), 0, 0
    lock, blank = threading.Lock(), Recognizer().predict(Image.new("L", (28, 28), 255))

    def predict(_) -> Prediction:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)  # without the limit, all visitors would be here at once
        with lock:
            at_once -= 1
        return blank

    visitors = 4 * cores
    with ThreadPoolExecutor(visitors) as threads:
        answers = threads.map(lambda _: reading.read(mock.Mock(predict=predict), picture("7")), range(visitors))
        assert [answer.reason for answer in answers] == ["blank"] * visitors
    assert most <= cores


def test_a_cat_is_refused(trained):
    """As one digit it is none; as a number its whiskers may be 1s, of which nobody is sure."""
    read = reading.read(Recognizer(trained[0], rejection_threshold=1000), skimage.data.chelsea())
    assert (read.reason, read.text, read.confidence) == ("not like a digit", "", 0)
    assert reading.read(Recognizer.load(), skimage.data.chelsea(), as_number=True).confidence < 0.2


def test_confidence_in_words():
    words = [page.describe_confidence(confidence) for confidence in (1, 0.99, 0.95, 0.7, 0.3, 0)]
    assert words == ["almost certain"] * 2 + ["fairly sure", "not sure"] + ["little more than a guess"] * 2


def test_what_the_server_cannot_do_is_one_line(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} is not available .* choose another with --port"):
            server.run(port)
    with pytest.raises(UserError, match="a port is a number from 1 to 65535, not 0"):
        server.run(0)
    with pytest.raises(UserError, match=r"there is no folder .*absent; give --models"):
        server.run(models=str(tmp_path / "absent"))
    monkeypatch.setattr(server.packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"streamlit is not installed; .* pip install .\.\[apps\]"):
        server.run()
