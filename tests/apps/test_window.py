"""The drawing window, used as people use it: a real screen (Xvfb), a real mouse and real keys (xdotool)."""

import gc
import importlib.util
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageGrab

from digit_recognizer import checkpoints, models, recipes
from digit_recognizer.apps import window as window_app
from digit_recognizer.apps.window import drawing, learning
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError

# What is drawn, by its corners, in fractions of the canvas's side.
ONE = [(0.5, 0.2), (0.5, 0.8)]
ZERO = [
    (0.5, 0.2),
    (0.36, 0.3),
    (0.32, 0.5),
    (0.36, 0.7),
    (0.5, 0.8),
    (0.64, 0.7),
    (0.68, 0.5),
    (0.64, 0.3),
    (0.5, 0.2),
]
SEVEN = [(0.3, 0.22), (0.7, 0.22), (0.45, 0.82)]
# A training that does not end before a test does: half a minute and more of the embedded digits.
SLOW = recipes.get(learning.RECIPE, epochs=100, widths=(784, 2048, 1024, 10))
LIMIT = 20  # seconds, for everything that is waited for


@pytest.fixture(scope="module")
def screen() -> Iterator[Callable[[str, int], str]]:
    """screen(size, dots_per_inch) starts a screen of its own and returns its name.

    All last as long as this module: Tk ends the whole process when one goes on which it ever had a window.
    """
    missing = [program for program in ("Xvfb", "xdotool") if shutil.which(program) is None]
    missing += [] if importlib.util.find_spec("_tkinter") else ["tkinter"]
    if missing:
        reason = f"needs {', '.join(missing)} (Debian: apt-get install xvfb xdotool python3-tk)"
        if os.environ.get("CI_SCREEN") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    servers = []

    def start(size: str, dots_per_inch: int) -> str:
        command = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{size}x24", "-dpi", str(dots_per_inch)]
        server = subprocess.Popen(
            [*command, "-nolisten", "tcp"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        servers.append(server)
        return f":{server.stdout.readline().strip()}"

    yield start
    for server in servers:
        with server:
            server.terminate()


@pytest.fixture(scope="module")
def usual_screen(screen) -> str:
    return screen("1280x800", 96)


@pytest.fixture
def open_on(monkeypatch) -> Iterator[Callable]:
    """open_on(screen) opens the window there; it is closed after the test."""
    opened = []

    def open_window(name: str, **options):
        monkeypatch.setenv("DISPLAY", name)
        window = window_app.open_window(**options)
        opened.append(window)
        window.root.focus_force()
        window.root.update()
        return window

    yield open_window
    for window in opened:
        window.training.shut_down()
        window.root.destroy()
    opened.clear()
    gc.collect()  # here and now: Tk's objects must not be collected by another thread


@pytest.fixture
def window(usual_screen, open_on, tmp_path, monkeypatch):
    """The window in an empty folder, on a usual screen."""
    monkeypatch.chdir(tmp_path)
    return open_on(usual_screen)


def until(window, happened: Callable[[], bool], limit: float = LIMIT) -> None:
    """Let the window live until something has happened."""
    end = time.monotonic() + limit
    while not happened():
        assert time.monotonic() < end, f"still waiting; the window says: {said(window)}"
        window.root.update()
        time.sleep(0.001)


def by_hand(window, *arguments) -> None:
    """Let xdotool move the real mouse or press real keys, while the window lives."""
    moving = subprocess.Popen(["xdotool", *map(str, arguments)])
    until(window, lambda: moving.poll() is not None)
    assert moving.returncode == 0
    settle(window)


def settle(window) -> None:
    """Wait until what was drawn is read."""
    for _ in range(3):
        window.root.update()
        time.sleep(0.01)
    until(window, lambda: window._scheduled is None)


def draw(window, corners: list[tuple[float, float]]) -> None:
    """Draw one stroke with the mouse, with a few places between two corners, at a hand's speed."""
    canvas = window.layout.pad.canvas
    side, left, top = canvas.winfo_width(), canvas.winfo_rootx(), canvas.winfo_rooty()
    places = [corners[0]]
    for (x, y), (next_x, next_y) in itertools.pairwise(corners):
        places += [(x + (next_x - x) * step / 8, y + (next_y - y) * step / 8) for step in range(1, 9)]
    pixels = [(round(left + side * x), round(top + side * y)) for x, y in places]
    arguments = ["mousemove", *pixels[0], "mousedown", 1]
    for number, place in enumerate(pixels[1:]):
        arguments += ["sleep", 0.01 if number % 8 else 0.04, "mousemove", *place]  # slower in the corners
    by_hand(window, *arguments, "sleep", 0.01, "mouseup", 1)


def said(window) -> str:
    return window.layout.status_label.cget("text")


def answer(window) -> str:
    return str(window.layout.digit_label.cget("text"))


def press(window, button) -> None:
    """Click on a button with the mouse."""
    middle = button.winfo_rootx() + button.winfo_width() // 2, button.winfo_rooty() + button.winfo_height() // 2
    by_hand(window, "mousemove", *middle, "click", 1)


@pytest.mark.parametrize(("digit", "corners"), [("1", ONE), ("0", ZERO), ("7", SEVEN)])
def test_a_digit_drawn_with_the_mouse_is_read_while_it_is_drawn(window, digit, corners):
    draw(window, corners)
    assert answer(window) == digit
    assert window.layout.confidence_label.cget("text").endswith("% sure")
    assert window.recognizer.predict(window.drawing.render()).image.max() == 255


def test_the_image_that_is_read_is_what_the_canvas_shows(window):
    draw(window, ZERO)
    canvas = window.layout.pad.canvas
    left, top, side = canvas.winfo_rootx(), canvas.winfo_rooty(), canvas.winfo_width()
    box = (left, top, left + side, top + side)
    shown = (
        ImageGrab.grab(box, xdisplay=os.environ["DISPLAY"])
        .convert("L")
        .resize((drawing.IMAGE_SIDE, drawing.IMAGE_SIDE))
    )
    ours, theirs = np.asarray(window.drawing.render()) > 127, np.asarray(shown) > 127
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.9  # what differs is half a pixel at the rim


def test_keys_take_back_clear_and_predict(window):
    from digit_recognizer.apps.window import window as window_window

    draw(window, SEVEN)
    draw(window, [(0.3, 0.55), (0.7, 0.55)])
    assert len(window.drawing.strokes) == 2
    by_hand(window, "key", "ctrl+z")
    assert len(window.drawing.strokes) == 1 and answer(window) == "7"
    by_hand(window, "key", "Escape")
    assert window.drawing.is_empty and answer(window) == "–"
    by_hand(window, "key", "Return")
    assert "nothing to read yet" in said(window)
    by_hand(window, "key", "ctrl+z")  # what was cleared comes back
    by_hand(window, "key", "Return")
    assert answer(window) == "7" and said(window) == window_window.HINT
    by_hand(window, "key", "ctrl+z", "key", "ctrl+z")
    assert said(window) == "There is nothing to undo."


def test_a_key_in_the_middle_of_a_stroke(window):
    canvas = window.layout.pad.canvas
    left, top = canvas.winfo_rootx(), canvas.winfo_rooty()
    by_hand(window, "mousemove", left + 50, top + 50, "mousedown", 1, "mousemove", left + 90, top + 90)
    by_hand(window, "key", "Escape", "mousemove", left + 100, top + 90, "mousemove", left + 150, top + 90, "mouseup", 1)
    across = [place[0] * canvas.winfo_width() for place in window.drawing.strokes[0].points]
    assert len(window.drawing.strokes) == 1 and min(across) > 95


def test_buttons_and_brush(window):
    layout = window.layout
    by_text = {child.cget("text"): child for child in descendants(window.root) if child.winfo_class() == "TButton"}
    draw(window, ONE)
    layout.brush_scale.set(0.15)
    draw(window, [(0.3, 0.8), (0.7, 0.8)])
    assert [round(stroke.width, 2) for stroke in window.drawing.strokes] == [0.08, 0.15]
    press(window, by_text["Undo"])
    assert len(window.drawing.strokes) == 1
    press(window, by_text["Clear"])
    assert window.drawing.is_empty
    press(window, by_text["Predict"])
    assert "nothing to read yet" in said(window)


def test_two_digits_are_no_digit(window):
    draw(window, [(0.25, 0.2), (0.25, 0.8)])
    draw(window, [(0.75, 0.2), (0.75, 0.8)])
    assert (answer(window), window.layout.confidence_label.cget("text")) == ("?", "Several digits; one at a time")


def test_an_answer_comes_within_50_ms_of_the_last_movement(window):
    from digit_recognizer.apps.window import window as window_window

    canvas, medians = window.layout.pad.canvas, []
    for _ in range(3):  # what else the machine does only adds, so the quickest of three tries counts
        seconds = []
        for step in range(15):
            # Of this process only: what other programs take of the processor says nothing about the window.
            began = time.process_time()
            canvas.event_generate("<ButtonPress-1>" if step == 0 else "<B1-Motion>", x=100 + 9 * step, y=100 + 9 * step)
            until(window, lambda: window._scheduled is None)
            seconds.append(time.process_time() - began)
        medians.append(statistics.median(seconds))
    assert window_window.DELAY / 1000 + min(medians) < 0.05


def test_images_are_opened_and_bad_ones_change_nothing(window, tmp_path, monkeypatch):
    from digit_recognizer.apps.window import window as window_window

    chosen = []
    monkeypatch.setattr(window_window.filedialog, "askopenfilename", lambda **options: str(chosen[-1]))
    open_image = next(child for child in descendants(window.root) if child.winfo_class() == "TButton")
    draw(window, SEVEN)
    paper = Image.eval(window.drawing.render(), lambda value: 255 - value).convert("RGB").resize((400, 600))
    paper.save(tmp_path / "paper.jpg")
    (tmp_path / "bad.png").write_text("not a picture")
    for name, expected in (("bad.png", "not a picture"), ("absent.png", "No such file")):
        chosen.append(tmp_path / name)
        press(window, open_image)
        assert expected in said(window) and len(window.drawing.strokes) == 1 and answer(window) == "7"
    chosen.append(tmp_path / "paper.jpg")
    press(window, open_image)
    assert said(window).startswith("Opened") and answer(window) == "7"
    assert window.layout.warnings_label.cget("text").startswith("Dark on light")
    draw(window, ONE)  # a drawing of its own
    assert window.drawing.opened_image is None and answer(window) == "1"
    by_hand(window, "key", "ctrl+z")
    assert window.drawing.opened_image is not None and answer(window) == "7"
    by_hand(window, "key", "ctrl+z")
    assert len(window.drawing.strokes) == 1


def test_models_are_loaded_and_bad_ones_change_nothing(window, tmp_path, small_recipe, trained):
    before = window.recognizer
    (tmp_path / "bad.pth").write_bytes(b"no model")
    window.root.after(1, window.use_model, str(tmp_path / "bad.pth"))
    until(window, lambda: "is not a model file" in said(window))
    assert window.recognizer is before
    checkpoints.save(tmp_path / "good.pth", trained[0], small_recipe, {})
    window.root.after(1, window.use_model, str(tmp_path / "good.pth"))
    until(window, lambda: said(window).startswith("Loaded"))
    assert window.layout.model_label.cget("text") == "Network: good.pth"
    assert type(window.recognizer.model) is type(models.build(small_recipe))


def test_drawings_are_kept_under_their_true_labels(window, tmp_path):
    labels = window.layout.label_buttons
    press(window, labels[7])
    assert "nothing to save yet" in said(window) and not (tmp_path / "drawings").exists()
    draw(window, SEVEN)
    press(window, labels[7])
    press(window, labels[7])
    by_hand(window, "key", "Escape")
    draw(window, ONE)
    press(window, labels[1])
    files = sorted((tmp_path / "drawings").iterdir())
    assert [path.name for path in files] == ["1_0001.png", "7_0001.png", "7_0002.png"]
    assert said(window) == f"Saved {Path('drawings', '1_0001.png')}"
    assert [Recognizer.load().predict(path).digit for path in files] == [1, 7, 7]


def test_a_folder_that_cannot_be_written_is_said_and_loses_nothing(window, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "under"):
        window.folder = folder
        draw(window, SEVEN)
        press(window, window.layout.label_buttons[7])
        assert "cannot write" in said(window) and str(folder) in said(window)
    assert answer(window) == "7"


def test_a_training_beside_a_window_in_use(window):
    window.training.dataset = "optdigits"
    window.training.recipe = SLOW
    press(window, window.layout.train_button)
    until(window, lambda: len(window.training.history) >= 1)
    training = window.training.thread
    for corners, digit in ((SEVEN, "7"), (ONE, "1")):
        epochs = len(window.training.history)
        draw(window, corners)
        assert answer(window) == digit and window.training.thread is training  # read while it goes on
        until(window, lambda epochs=epochs: len(window.training.history) > epochs)
        by_hand(window, "key", "Escape")


def test_a_trained_network_reads_from_then_on_and_is_kept_when_asked(window, tmp_path):
    window.training.dataset = "optdigits"
    before = window.recognizer
    press(window, window.layout.train_button)
    training = window.training.thread
    until(window, lambda: window.training.thread is None)
    assert window.recognizer is not before and "Save model" in said(window)
    assert len(window.training.history) == 10 and not training.is_alive()
    assert window.training.trained.scores.accuracy > 0.9 and not window.layout.save_model_button.instate(["disabled"])
    window.training.save(str(tmp_path / "optdigits_model.pth"))
    kept = checkpoints.load(tmp_path / "optdigits_model.pth")
    assert (kept.recipe.name, kept.record["dataset"]) == ("mlp_128_64_adam_10ep", "optdigits")
    assert window.training.trained is None and window.layout.save_model_button.instate(["disabled"])


def test_a_training_is_stopped_at_once(window):
    window.training.dataset = "optdigits"
    window.training.recipe = SLOW
    before = window.recognizer
    press(window, window.layout.train_button)
    training = window.training.thread
    until(window, lambda: training.progress > 0)
    began = time.monotonic()
    press(window, window.layout.train_button)
    training.join(LIMIT)
    assert time.monotonic() - began < 2  # with the click
    assert window.training.thread is None and window.recognizer is before and training.progress < 1
    assert window.layout.train_button.cget("text") == "Train a new model" and "stopped" in said(window)


def test_without_mnist_the_embedded_set_is_taken_and_named(window, tmp_path, no_network):
    window.training.data_dir = str(tmp_path / "empty")
    press(window, window.layout.train_button)
    until(window, lambda: len(window.training.history) >= 1)
    assert "MNIST is neither on disk nor can it be downloaded; training on optdigits" in said(window)


def test_damaged_files_of_mnist_are_said(window, tmp_path, no_network):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").write_bytes(b"damaged")
    window.training.data_dir = str(tmp_path)
    press(window, window.layout.train_button)
    until(window, lambda: window.training.thread is None)
    assert "MNIST" in said(window) and str(window.layout.status_label.cget("foreground")) != "#222222"


def test_closing_asks_where_something_would_be_lost(window, monkeypatch):
    from digit_recognizer.apps.window import window as window_window

    asked = []
    monkeypatch.setattr(window_window.messagebox, "askokcancel", lambda *text, **options: asked.append(text[1]))
    window.training.trained = True
    window.close()
    window.root.update()  # it is still there
    press(window, window.layout.train_button)
    questions = ["Close all the same?", "Train another in its place?"]
    assert asked == [f"The trained model is not saved. {question}" for question in questions]
    assert window.training.thread is None


def descendants(widget) -> list:
    """Every widget in a window."""
    return [child for other in widget.winfo_children() for child in (other, *descendants(other))]


@pytest.mark.parametrize(("size", "dots_per_inch"), [("800x600", 96), ("1280x800", 192), ("2560x1600", 192)])
def test_nothing_is_cut_off_on_small_and_scaled_screens(size, dots_per_inch, screen, open_on):
    name, (width, height) = screen(size, dots_per_inch), map(int, size.split("x"))
    window = open_on(name)
    layout, root = window.layout, window.root
    layout.model_label.configure(text=f"Network: {'n' * 30}")
    notices = "3 separate shapes, the largest was read; very thin strokes thickened"
    layout.warnings_label.configure(text=f"Dark on light, inverted; {notices}")
    layout.training_label.configure(text="optdigits, first epoch…")
    layout.set_status("a long message " * 12)
    for geometry in ("", "{}x{}".format(*root.minsize())):
        root.geometry(geometry)
        root.update()
        assert root.winfo_width() <= width and root.winfo_height() <= height - 30  # of a title bar
        for widget in descendants(root):
            right = widget.winfo_rootx() + widget.winfo_width()
            bottom = widget.winfo_rooty() + widget.winfo_height()
            assert right <= root.winfo_rootx() + root.winfo_width(), widget
            assert bottom <= root.winfo_rooty() + root.winfo_height(), widget
            if widget.winfo_class() in ("TLabel", "TButton", "TScale"):  # canvases take what there is
                assert widget.winfo_width() >= widget.winfo_reqwidth(), widget
                assert widget.winfo_height() >= widget.winfo_reqheight(), widget


def test_a_wrong_model_ends_the_command_before_a_window_opens(usual_screen, monkeypatch, tmp_path):
    monkeypatch.setenv("DISPLAY", usual_screen)
    with pytest.raises(UserError, match="absent"):
        window_app.run(model=str(tmp_path / "absent.pth"))


def test_without_a_display_one_line_names_the_page(monkeypatch):
    pytest.importorskip("tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError) as error:
        window_app.run()
    page = "python -m digit_recognizer serve"
    assert str(error.value) == f"there is no display to open a window on; use the page instead: {page}"


def test_without_tkinter_one_line_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(UserError, match="install python3-tk"):
        window_app.run()


def test_importing_it_needs_no_display_and_prints_nothing(tmp_path):
    program = "import sys, digit_recognizer.apps.window; assert not {'tkinter', 'torch'} & set(sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
