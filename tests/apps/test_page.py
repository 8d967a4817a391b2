"""The web page without a browser: what it says to good pictures, to bad ones, and to models that are none."""

import csv
import io
import os
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import skimage.data
import streamlit as st
import torch
from page_client import claiming, encoded, picture
from PIL import Image
from streamlit.testing.v1 import AppTest

from digit_recognizer import checkpoints
from digit_recognizer.apps.web import model_list, reading, server
from digit_recognizer.apps.web import page as web_page
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError


@pytest.fixture
def page(monkeypatch, tmp_path):
    """The page before any click, with an empty folder of models."""
    monkeypatch.setenv(model_list.FOLDER_VARIABLE, str(tmp_path))
    return AppTest.from_file(web_page.__file__, default_timeout=60).run()


def upload(page: AppTest, **files: bytes) -> AppTest:
    """Upload files by their names, in which __ stands for the dot."""
    chosen = [(name.replace("__", "."), content, "image/png") for name, content in files.items()]
    page.file_uploader[0].set_value(chosen).run()
    assert not page.exception
    return page


def said(page: AppTest) -> str:
    """The large answer's text, parts divided by blanks."""
    answers = [element.proto.body for element in page.get("html") if 'class="answer"' in element.proto.body]
    return " ".join(re.sub("<[^>]+>", " ", " ".join(answers)).split())


def lines(elements) -> list[str]:
    """What boxes say, without Markdown's backslashes."""
    return [element.value.replace("\\", "") for element in elements]


def test_a_digit_is_read_and_every_step_shown(page):
    upload(page, seven__png=picture("7"))
    answer = re.fullmatch(r"Read as the digit 7 (?:&gt;)?([\d.]+)% sure: .+", said(page))
    assert answer and 50 < float(answer[1]) < 100
    captions = [caption for image in page.get("image") for caption in image.captions]
    assert captions == [
        "Your picture.",
        "The ink found; grey ink was left out.",
        "What the network saw: 28 x 28 pixels.",
    ]
    assert all(picture.HasField("alt") and picture.alt for image in page.get("image") for picture in image.proto.imgs)
    (bars,) = (element.proto.body for element in page.get("html") if "<table" in element.proto.body)
    assert re.findall(r'<th scope="row"[^>]*>(\d)</th>', bars) == list("0123456789")
    assert lines(page.info) == ["Noticed in the picture: dark on light, inverted."]


def test_several_digits_are_read_as_a_number_even_unasked(page):
    upload(page, number__png=picture("470"))
    assert said(page).startswith("Read as the number 470 least sure of #")
    captions = [caption for image in page.get("image") for caption in image.captions]
    assert [caption[:6] for caption in captions[1:]] == ["#1: 4,", "#2: 7,", "#3: 0,"]


def test_a_shape_that_is_no_digit_is_marked_within_a_number(page, monkeypatch):
    read = Recognizer.read

    def unsure_of_the_second(recognizer, intakes):
        found = read(recognizer, intakes)
        if len(found) > 1:
            found[1] = found[1]._replace(digit=None, confidence=0.2, reason="not like a digit")
        return found

    monkeypatch.setattr(Recognizer, "read", unsure_of_the_second)
    upload(page, number__png=picture("470"))
    assert re.match(r"Read as the number 4\?0 least sure of #[13]: ", said(page))
    captions = [caption for image in page.get("image") for caption in image.captions]
    assert captions[2] == "#2?: no digit"


def test_a_single_digit_can_be_read_as_a_number(page):
    page.toggle[0].set_value(True)
    upload(page, seven__png=picture("7"))
    assert said(page).startswith("Read as the number 7")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("notes__txt", b"hello", "notes.txt is not a picture that can be read"),
        ("empty__png", b"", "empty.png is not a picture that can be read"),
        ("cut__png", picture("7")[:200], "cannot read cut.png"),
        ("dot__png", encoded(Image.new("L", (1, 1))), "dot.png has only 1 x 1 pixels"),
        ("huge__png", claiming(40_000, 40_000), "huge.png has more than 120 million pixels"),
    ],
)
def test_what_is_no_picture_is_one_line(page, name, content, expected):
    upload(page, **{name: content})
    (line,) = lines(page.error)
    assert line.startswith(expected) and "\n" not in line and not said(page)


def test_a_files_name_cannot_format_the_page(page):
    upload(page, **{"![x](http://a.example/b) :red[c] $d$ <b>__png": b"no"})
    (error,) = page.error
    assert r"\!\[x\]\(http\://a" in error.value and r"\$d\$ \<b\>" in error.value


def test_an_animation_is_read_by_its_first_picture(page):
    frames = [Image.open(io.BytesIO(picture(text))) for text in "71"]
    upload(page, moving__gif=encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert said(page).startswith("Read as the digit 7")
    assert "the first of several frames was read" in page.info[0].value


def test_blank_paper_is_refused_with_what_to_do(page):
    upload(page, blank__jpg=picture("", form="JPEG"))
    (line,) = lines(page.warning)
    assert line.startswith("There is nothing to read") and "try again" in line and not said(page)


def test_one_bad_file_does_not_stop_the_others(page):
    bad = {f"bad_{number}__png": b"no" for number in range(3)}
    upload(page, seven__png=picture("7"), **bad, number__png=picture("470"), blank__png=picture(""))
    assert page.subheader[0].value == "2 of 6 pictures were read"
    table = page.dataframe[0].value
    assert list(table["file"]) == ["seven.png", "bad_0.png", "bad_1.png", "bad_2.png", "number.png", "blank.png"]
    assert list(table["read"]) == ["7", "", "", "", "470", ""]
    assert "not a picture" in table["note"][1] and table["note"][5] == "refused: there is no ink"


def test_the_downloaded_table_cannot_carry_formulas():
    names = ["=HYPERLINK(1)", "+1.png", "-1.png", "@a.png", 'a,"b".png', "plain.png", "a; =1.png", "＝1.png", " \t=1"]
    rows = [reading.table_row(None, name, b"no") for name in names]  # what is no picture needs no network
    read = list(csv.DictReader(io.StringIO(reading.to_csv(rows).decode("utf-8-sig"))))
    assert [row["file"] for row in read] == [
        "'=HYPERLINK(1)",
        "'+1.png",
        "'-1.png",
        "'@a.png",
        'a,"b".png',
        "plain.png",
        "a; '=1.png",
        "'＝1.png",
        "'=1",
    ]


def test_a_trained_network_is_chosen_first_and_a_changed_one_read_anew(page, trained, small_recipe, tmp_path):
    path = tmp_path / "mnist_model.pth"
    checkpoints.save(path, trained[0], small_recipe, {})
    app = AppTest.from_file(web_page.__file__, default_timeout=60).run()
    assert app.selectbox[0].options == [model_list.SHIPPED, "mnist_model.pth"]
    assert app.selectbox[0].value == "mnist_model.pth"
    upload(app, seven__png=picture("7"))
    assert said(app)
    checkpoints.save(
        path, trained[0], small_recipe, {"calibration": {"min_confidence": 1.1}}
    )  # one that is never sure enough
    os.utime(path, ns=(1, 1))
    app.run()
    assert lines(app.warning)[0].startswith("This does not look like a handwritten digit")


def test_a_file_in_anothers_place_is_told_from_it_though_its_time_is_the_same(tmp_path):
    """As `cp -p` and an atomic rename leave it."""
    one, other = tmp_path / "one.pth", tmp_path / "other.pth"
    one.write_bytes(b"old"), other.write_bytes(b"new")
    for path in (one, other):
        os.utime(path, ns=(1, 1))
    before = model_list.identity(one)
    assert model_list.identity(one) == before
    other.replace(one)
    assert model_list.identity(one) != before


def test_a_prediction_computes_with_one_thread(page):
    st.cache_resource.clear()
    torch.set_num_threads(2)
    upload(page, seven__png=picture("7"))
    with ThreadPoolExecutor(1) as another_visitors:
        assert another_visitors.submit(torch.get_num_threads).result() == 1
    torch.set_num_threads(1)


def test_a_cat_is_refused(trained):
    careful = Recognizer(trained[0], min_confidence=1.1)
    for whole in (False, True):
        answer = reading.read(careful, skimage.data.chelsea(), whole)
        assert (answer.reason, answer.text, answer.confidence) == ("not like a digit", "", 0)


def test_refusing_a_number_shows_its_ink(page, trained, small_recipe, tmp_path):
    checkpoints.save(tmp_path / "mnist_model.pth", trained[0], small_recipe, {"calibration": {"min_confidence": 1.1}})
    app = AppTest.from_file(web_page.__file__, default_timeout=60).run()
    upload(app, number__png=picture("470"))
    assert len(app.warning) == 1 and len(app.get("image")) == 2 and not said(app)


def test_a_file_that_is_no_network_is_one_line(page, tmp_path):
    (tmp_path / "mnist_model.pth").write_bytes(b"no network")
    app = AppTest.from_file(web_page.__file__, default_timeout=60).run()
    (line,) = lines(app.error)
    assert "mnist_model.pth is not a model file" in line and "Choose another network" in line and not app.exception
    app.selectbox[0].set_value(model_list.SHIPPED).run()
    assert not app.error


def test_a_file_that_has_gone_is_one_line(page, tmp_path):
    path = tmp_path / "gone.pth"
    path.write_bytes(b"")
    page.run().selectbox[0].set_value("gone.pth")
    path.unlink()
    assert not page.run().exception


def test_nothing_drawn_is_said_and_a_drawing_is_read(page, monkeypatch):
    # The canvas cannot even be imported without a server; test_web_page_browser.py draws on the true one.
    result = SimpleNamespace(json_data={"objects": []}, image_bytes=None)
    canvas = SimpleNamespace(st_canvas=lambda **options: result)
    monkeypatch.setitem(sys.modules, "streamlit_drawable_canvas", canvas)
    page.radio[0].set_value("Draw").run()
    assert lines(page.info) == ["Nothing is drawn yet."] and not page.exception
    result.json_data["objects"] = [{}]
    result.image_bytes = picture("7")
    assert said(page.run()).startswith("Read as the digit 7")
    page.button[0].click().run()
    assert page.session_state["sheet"] == 1 and not page.exception


def test_a_photograph_is_read(page):
    page.radio[0].set_value("Use the camera").run()
    assert not page.exception and not said(page)
    page.camera_input[0].upload("photograph.jpg", picture("7", form="JPEG"), "image/jpeg").run()
    assert said(page).startswith("Read as the digit 7")


def test_confidence_in_words():
    assert [web_page.describe_confidence(value) for value in (1, 0.99, 0.95, 0.7, 0.3, 0)] == [
        "almost certain", "almost certain", "fairly sure", "not sure", "little more than a guess",
        "little more than a guess",
    ]  # fmt: skip


def test_what_the_server_cannot_do_is_one_line(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} is not available .* choose another with --port"):
            server.run(port)
    with pytest.raises(UserError, match="a port is a number from 1 to 65535, not 0"):
        server.run(0)
    with pytest.raises(UserError, match=r"there is no folder .*absent; give --models"):
        server.run(models=str(tmp_path / "absent"))
    monkeypatch.setattr(server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"the page needs streamlit .* pip install"):
        server.run()


def test_importing_the_page_brings_in_nothing_heavy():
    program = "import sys, digit_recognizer.apps.web.server; print(sorted({'streamlit', 'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"
