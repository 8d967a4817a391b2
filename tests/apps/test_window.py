"""The drawing window as people use it: on a real screen (Xvfb), with a real mouse and real keys (xdotool)."""

import gc
import importlib.util
import itertools
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageGrab, ImageOps

from benchmarks.trials import drawn_hand
from digit_recognizer import checkpoints, models, recipes
from digit_recognizer.apps import window as window_app
from digit_recognizer.apps.window import drawing
from digit_recognizer.apps.window import hand as hand_app
from digit_recognizer.apps.window.review import Doubtful, Review
from digit_recognizer.recognition import adaptation, last_layer
from digit_recognizer.runtime.errors import UserError

# Corners of strokes, in fractions of the canvas's side.
ONE = [(0.5, 0.2), (0.5, 0.8)]
SEVEN = [(0.3, 0.22), (0.7, 0.22), (0.45, 0.82)]
ZERO = [(0.5 - 0.18 * math.sin(turn * math.pi / 4), 0.5 - 0.3 * math.cos(turn * math.pi / 4)) for turn in range(9)]
# Half a minute and more of the embedded digits: it does not end before a test does.
SLOW = recipes.get("mlp_128_64_adam_10ep", epochs=100, widths=(784, 2048, 1024, 10))
PATIENCE = 60  # seconds, for everything that is waited for


@pytest.fixture(scope="session")
def screen() -> Iterator[Callable[[str, int], str]]:
    """screen(size, dots_per_inch) starts an X server and returns its display.

    All last as long as this process: Tk ends it when a display goes on which it ever had a window.
    """
    missing = [program for program in ("Xvfb", "xdotool") if shutil.which(program) is None]
    missing += [] if importlib.util.find_spec("_tkinter") else ["tkinter"]
    if missing:
        reason = f"needs {', '.join(missing)} (Debian: apt-get install xvfb xdotool python3-tk)"
        (pytest.fail if os.environ.get("CI_SCREEN") == "1" else pytest.skip)(reason)
    servers = []

    def start(size: str, dots_per_inch: int) -> str:
        command = f"Xvfb -displayfd 1 -screen 0 {size}x24 -dpi {dots_per_inch} -nolisten tcp".split()
        servers.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        return f":{servers[-1].stdout.readline().strip()}"

    yield start
    for server in servers:
        with server:
            server.terminate()


@pytest.fixture(scope="session")
def usual_screen(screen) -> str:
    return screen("1280x800", 96)


@pytest.fixture
def open_on(monkeypatch, tmp_path) -> Iterator[Callable]:
    """open_on(display) opens the window there; it is closed after the test."""
    opened = []
    gc.freeze()  # what is there already need not be looked through below

    def open_window(display: str):
        monkeypatch.setenv("DISPLAY", display)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        window = window_app.open_window()
        opened.append(window)
        window.root.focus_force()
        window.root.update()
        return window

    yield open_window
    for window in opened:
        window.training.shut_down()
        window.hand.shut_down()
        window.root.destroy()
    opened.clear()
    gc.collect()  # Tk's objects must not be collected by another thread
    gc.unfreeze()


@pytest.fixture
def window(usual_screen, open_on, tmp_path, monkeypatch):
    """The window in an empty folder, on a usual screen; it trains on the embedded digits."""
    monkeypatch.chdir(tmp_path)
    window = open_on(usual_screen)
    window.training.dataset = "optdigits"
    return window


@pytest.fixture
def choose(monkeypatch, tmp_path) -> list[str]:
    """The names of the files in tmp_path that dialogs give, the next one last."""
    names: list[str] = []
    for dialog in ("askopenfilename", "asksaveasfilename"):
        monkeypatch.setattr(f"tkinter.filedialog.{dialog}", lambda **options: str(tmp_path / names.pop()))
    return names


def wait_until(window, condition: Callable[[], object]) -> None:
    """Run the window's events until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"still waiting; the window says: {status(window)}"
        window.root.update()
        time.sleep(0.001)


def xdotool(window, *arguments) -> None:
    """Move the real mouse or press real keys, and wait until the drawing is read."""
    process = subprocess.Popen(["xdotool", *map(str, arguments)])
    wait_until(window, lambda: process.poll() is not None)
    assert process.returncode == 0
    for _ in range(3):
        window.root.update()
        time.sleep(0.01)
    wait_until(window, lambda: window._scheduled is None)


def draw(window, corners: list[tuple[float, float]]) -> None:
    """Draw one stroke with the mouse, at a hand's speed."""
    canvas = window.layout.pad.canvas
    side, left, top = canvas.winfo_width(), canvas.winfo_rootx(), canvas.winfo_rooty()
    points = [corners[0]]
    for (x, y), (next_x, next_y) in itertools.pairwise(corners):
        points += [(x + (next_x - x) * step / 8, y + (next_y - y) * step / 8) for step in range(1, 9)]
    pixels = [(round(left + side * x), round(top + side * y)) for x, y in points]
    arguments = ["mousemove", *pixels[0], "mousedown", 1]
    for number, pixel in enumerate(pixels[1:]):
        arguments += ["sleep", 0.01 if number % 8 else 0.04, "mousemove", *pixel]  # slower in the corners
    xdotool(window, *arguments, "sleep", 0.01, "mouseup", 1)


def click(window, button) -> None:
    """Click a button, or the one with that text."""
    if isinstance(button, str):
        buttons = (widget for widget in descendants(window.root) if widget.winfo_class() == "TButton")
        button = next(widget for widget in buttons if widget.cget("text") == button)
    middle = button.winfo_rootx() + button.winfo_width() // 2, button.winfo_rooty() + button.winfo_height() // 2
    xdotool(window, "mousemove", *middle, "click", 1)


def status(window) -> str:
    return window.layout.status_label.cget("text")


def digit(window) -> str:
    return str(window.layout.digit_label.cget("text"))


def descendants(widget) -> list:
    """Every widget in a window."""
    return [child for other in widget.winfo_children() for child in (other, *descendants(other))]


def start_training(window) -> None:
    """Press the button and wait for the first epoch, or for the end."""
    click(window, window.layout.train_button)
    wait_until(window, lambda: window.training.thread is None or window.training.history)


def test_a_digit_drawn_with_the_mouse_is_read_as_the_canvas_shows_it(window):
    for corners, expected in ((ONE, "1"), (SEVEN, "7"), (ZERO, "0")):
        xdotool(window, "key", "Escape")
        draw(window, corners)
        assert digit(window) == expected
        assert window.layout.confidence_label.cget("text").endswith("% sure")
    canvas, side = window.layout.pad.canvas, drawing.IMAGE_SIDE
    left, top, width = canvas.winfo_rootx(), canvas.winfo_rooty(), canvas.winfo_width()
    shown = ImageGrab.grab((left, top, left + width, top + width), xdisplay=os.environ["DISPLAY"])
    images = window.drawing.render(), shown
    ours, theirs = (np.asarray(image.convert("L").resize((side, side))) > 127 for image in images)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.9  # they differ by half a pixel at the edge


def test_several_digits_are_read_once_the_mouse_rests_and_shown_in_boxes(window, tmp_path, choose):
    reads = []
    read_number = window.recognizer.read_number
    window.recognizer.read_number = lambda picture: reads.append(picture) or read_number(picture)
    for x in (0.25, 0.75):
        draw(window, [(x, 0.2), (x, 0.8)])
    wait_until(window, lambda: digit(window) == "11")
    assert len(reads) <= 2  # none while the mouse moves
    layout, canvas = window.layout, window.layout.pad.canvas
    assert "% sure of all,\nleast of #" in layout.confidence_label.cget("text")
    assert layout.seen_label.cget("text").startswith("What the network sees of #")
    assert shown_boxes(canvas)[:2] == pytest.approx([0.25, 0.75], abs=0.03)
    root = window.root
    root.geometry("{}x{}".format(*root.minsize()))
    root.update()
    assert shown_boxes(canvas)[:2] == pytest.approx([0.25, 0.75], abs=0.03)  # they follow the drawing
    xdotool(window, "key", "ctrl+z")
    assert digit(window) == "1" and not canvas.find_withtag("marks")
    assert layout.seen_label.cget("text") == "What the network sees"
    reads[-1].crop((0, 25, 200, 175)).save(tmp_path / "wide.png")
    choose.append("wide.png")
    click(window, "Open image…")
    wait_until(window, lambda: canvas.find_withtag("marks"))
    assert digit(window) == "11" and shown_boxes(canvas)[:2] == pytest.approx([0.25, 0.75], abs=0.03)


def shown_boxes(canvas) -> list[float]:
    """Where the middles of the boxes over a drawing are, in fractions of its width."""
    outlined = (item for item in canvas.find_withtag("marks") if canvas.itemcget(item, "width") == "2.0")
    boxes = [canvas.coords(item) for item in outlined if canvas.type(item) == "rectangle"]
    return sorted((left + right) / 2 / canvas.winfo_width() for left, _, right, _ in boxes)


def test_a_doubt_is_said_in_words(window, doubtful, network_alone):
    window.use_recognizer(doubtful, "doubtful")
    draw(window, ONE)
    assert (digit(window), window.layout.confidence_label.cget("text")) == ("5", "54.0% sure,\nor 9")


def test_keys_and_buttons_undo_clear_and_predict(window):
    draw(window, SEVEN)
    hint = status(window)
    window.layout.brush_scale.set(0.15)
    draw(window, [(0.3, 0.55), (0.7, 0.55)])
    assert [round(stroke.width, 2) for stroke in window.drawing.strokes] == [0.08, 0.15]
    xdotool(window, "key", "ctrl+z")
    assert len(window.drawing.strokes) == 1 and digit(window) == "7"
    for clear in (lambda: xdotool(window, "key", "Escape"), lambda: click(window, "Clear")):
        clear()
        assert window.drawing.is_empty and digit(window) == "–"
        xdotool(window, "key", "Return")
        assert "nothing to read yet" in status(window)
        click(window, "Undo")  # of the clearing
        click(window, "Predict")
        assert digit(window) == "7" and status(window) == hint
    xdotool(window, "key", "ctrl+z", "key", "ctrl+z")
    assert status(window) == "There is nothing to undo."


def test_a_key_in_the_middle_of_a_stroke(window):
    canvas = window.layout.pad.canvas
    left, top = canvas.winfo_rootx(), canvas.winfo_rooty()
    xdotool(window, "mousemove", left + 50, top + 50, "mousedown", 1, "mousemove", left + 90, top + 90)
    xdotool(window, "key", "Escape", "mousemove", left + 100, top + 90, "mousemove", left + 150, top + 90, "mouseup", 1)
    (stroke,) = window.drawing.strokes
    assert min(x * canvas.winfo_width() for x, _ in stroke.points) > 95


def test_images_are_opened_and_bad_ones_change_nothing(window, tmp_path, choose):
    draw(window, SEVEN)
    paper = Image.eval(window.drawing.render(), lambda value: 255 - value).convert("RGB").resize((400, 600))
    paper.save(tmp_path / "paper.jpg")
    (tmp_path / "bad.png").write_text("not a picture")
    for name, expected in (("bad.png", "not a picture"), ("absent.png", "No such file")):
        choose.append(name)
        click(window, "Open image…")
        assert expected in status(window) and len(window.drawing.strokes) == 1 and digit(window) == "7"
    choose.append("paper.jpg")
    click(window, "Open image…")
    assert status(window).startswith("Opened") and digit(window) == "7"
    assert window.layout.warnings_label.cget("text").startswith("Dark on light")
    draw(window, ONE)  # begins a drawing of its own
    assert window.drawing.opened_image is None and digit(window) == "1"
    xdotool(window, "key", "ctrl+z")
    assert window.drawing.opened_image is not None and digit(window) == "7"
    xdotool(window, "key", "ctrl+z")
    assert len(window.drawing.strokes) == 1


def test_models_are_loaded_and_bad_ones_change_nothing(window, tmp_path, choose, small_recipe, trained):
    before = window.recognizer
    (tmp_path / "bad.pth").write_bytes(b"no model")
    checkpoints.save(tmp_path / "good.pth", trained[0], small_recipe, {})
    choose.extend(["good.pth", "bad.pth"])
    click(window, "Load model…")
    assert "is not a model file" in status(window) and window.recognizer is before
    click(window, "Load model…")
    assert status(window).startswith("Loaded") and window.recognizer is not before
    assert window.layout.model_label.cget("text") == "Network: good.pth"
    assert type(window.recognizer.model) is type(models.build(small_recipe))


def test_drawings_are_kept_under_their_right_answers(window, tmp_path):
    labels, folder = window.layout.label_buttons, tmp_path / "data/digit-recognizer/drawings"
    click(window, labels[7])
    assert "nothing to keep yet" in status(window) and not folder.exists()
    draw(window, SEVEN)
    click(window, labels[7])
    click(window, labels[7])
    xdotool(window, "key", "Escape")
    draw(window, ONE)
    click(window, labels[1])
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == ["1_0001.png", "7_0001.png", "7_0002.png"]
    assert status(window).startswith(f"Kept {folder / '1_0001.png'}, on this machine alone. Drawings there: 3.")
    assert window.layout.folder_button.cget("text") == "drawings (3)…"
    assert [window.recognizer.predict(path).digit for path in files] == [1, 7, 7]
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "under"):
        window.hand.folder = folder
        click(window, labels[1])
        assert "cannot write" in status(window) and str(folder) in status(window) and digit(window) == "1"


def test_a_hand_is_learned_read_at_once_kept_and_forgotten(window, tmp_path, monkeypatch):
    monkeypatch.setenv("DIGITS_DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.setattr(last_layer, "FOLDS", 3)
    hand, layout, shipped = window.hand, window.layout, window.recognizer
    drawings = [(label, ImageOps.invert(image)) for label, image in drawn_hand.pictures(5, seed=1)]
    for label, image in drawings[:9]:
        drawing.save_drawing(image, hand.folder, label)
    window.drawing.add(drawings[9][1])
    window.update_buttons()
    assert layout.learn_button.instate(["disabled"]) and layout.forget_button.instate(["disabled"])
    click(window, layout.label_buttons[drawings[9][0]])  # the tenth
    assert layout.learn_button.instate(["!disabled"]) and "Learn my hand trains on them" in status(window)
    for label, image in drawings[10:]:
        drawing.save_drawing(image, hand.folder, label)

    click(window, layout.learn_button)
    assert layout.learn_button.cget("text") == "Stop" and layout.train_button.instate(["disabled"])
    click(window, layout.learn_button)
    assert "stopped" in status(window) and window.recognizer is shipped and not hand.network.exists()

    click(window, layout.learn_button)
    wait_until(window, lambda: layout.progress_bar.cget("value") > 0)
    wait_until(window, lambda: hand.thread is None)
    assert status(window).startswith("Your hand is learned: ") and "of 20 drawings are right" in status(window)
    assert layout.model_label.cget("text") == "Network: my hand" and window.recognizer is not shipped
    zeros = [image for label, image in drawn_hand.pictures(5, seed=2) if label == 0]
    right = [sum(reader.predict(zero).digit == 0 for zero in zeros) for reader in (shipped, window.recognizer)]
    assert right[0] <= 1 and right[1] >= 4
    again = window_app.open_window()
    assert again.layout.model_label.cget("text") == "Network: my hand"
    again.root.destroy()

    click(window, layout.forget_button)
    assert "Forgotten" in status(window) and window.recognizer is shipped and not hand.network.exists()
    assert layout.training_label.cget("text") == "Your hand is forgotten"
    assert layout.forget_button.instate(["disabled"]) and len(list(hand.folder.iterdir())) == 20


def test_a_hand_that_cannot_be_learned_gets_one_line_and_the_old_network_reads_on(window, monkeypatch):
    before, layout = window.recognizer, window.layout
    for number in range(12):
        drawing.save_drawing(Image.new("L", (90, 90)), window.hand.folder, number % 2)  # all blank
    window.update_buttons()
    click(window, layout.learn_button)
    wait_until(window, lambda: window.hand.thread is None)
    assert "too few pictures to learn from: 0" in status(window)

    def without_pytorch(thread):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(hand_app.HandThread, "work", without_pytorch)
    click(window, layout.learn_button)
    wait_until(window, lambda: window.hand.thread is None)
    assert "torch is not installed" in status(window) and "pip install '.[train]'" in status(window)
    assert window.recognizer is before and not window.hand.network.exists()


def test_drawings_that_look_wrong_are_shown_and_corrected(window, tmp_path, monkeypatch, optdigits):
    monkeypatch.setenv("DIGITS_DATA_DIR", str(tmp_path / "nothing"))
    for name, less in {"FOLDS": 3, "STEPS": 20, "OWN_SAMPLES": 40, "OUTLIERS": 50, "OTHERS": 200}.items():
        monkeypatch.setattr(last_layer, name, less)
    hand, layout = window.hand, window.layout
    enlarged = [Image.fromarray(image).resize((200, 200)) for image in optdigits.test.images[:45].numpy()]
    read = zip(enlarged, optdigits.test.labels.tolist(), strict=False)
    images, labels = zip(
        *[each for each in read if window.recognizer.predict(each[0]).digit == each[1]][:40], strict=True
    )
    kept = [
        drawing.save_drawing(image, hand.folder, (label + (number < 2)) % 10)
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    drawing.save_drawing(Image.new("L", (200, 200)), hand.folder, 0)
    window.update_buttons()
    click(window, layout.learn_button)
    wait_until(window, lambda: hand.thread is None)
    assert "Left out, since they look like other digits: 2." in status(window)
    assert "Left out, since they are not like one digit: 1." in status(window)
    assert [each.winfo_class() for each in hand.review.winfo_children()].count("TFrame") == 2
    said = [each.cget("text") for each in descendants(hand.review) if each.winfo_class() == "TLabel"]
    assert said[0] == "2 drawings look like another digit than you said. Those that stay so are not learned."
    right = dict(zip(kept[:2], labels, strict=False))  # their true labels
    assert sorted(said[1:]) == sorted(
        text for path, label in right.items() for text in ("", f"Kept as {path.name[0]}\nLooks like {label}")
    )

    buttons = [each for each in descendants(hand.review) if each.winfo_class() == "TButton"]
    relabels, deletes = ([each for each in buttons if each.cget("text").startswith(text)] for text in ("It is", "Del"))
    first, second = sorted(kept[:2])
    alike = len(list(hand.folder.glob(f"{right[first]}_*")))
    click(window, relabels[0])
    assert "Press Learn my hand" in status(window) and relabels[0].instate(["disabled"])
    assert not first.exists() and len(list(hand.folder.glob(f"{right[first]}_*"))) == alike + 1
    click(window, deletes[1])
    assert not second.exists() and layout.folder_button.cget("text") == "drawings (40)…"
    click(window, hand.review.close_button)
    assert not hand.review.winfo_exists()

    drawing.save_drawing(images[0], hand.folder, (labels[0] + 1) % 10)
    network = hand.network.read_bytes()
    monkeypatch.setattr(adaptation, "MAX_SUSPECTS", 0)
    click(window, layout.learn_button)
    wait_until(window, lambda: hand.thread is None)
    assert "Your hand was not learned: 1 of 40 pictures look like another digit" in status(window)
    assert hand.review.winfo_viewable() and hand.network.read_bytes() == network


def test_many_drawings_that_look_wrong_fit_on_a_small_screen_and_one_may_be_gone(screen, open_on, tmp_path):
    window = open_on(screen("800x600", 96))
    folder = tmp_path / "drawings"
    drawings = [Doubtful(drawing.save_drawing(Image.new("L", (200, 200)), folder, 1), 1, 7) for _ in range(12)]
    drawings[0].path.unlink()
    review = Review(window.root, drawings, window.layout.px, lambda: None)
    review.update()
    assert review.winfo_rooty() + review.winfo_height() <= 600 - 30  # of a title bar
    assert review.winfo_rootx() + review.winfo_width() <= 800
    buttons = [each for each in descendants(review) if each.winfo_class() == "TButton"]
    assert [each.cget("text") for each in buttons].count("Delete") == 10
    assert review.winfo_children()[0].cget("text").endswith("The first 10:")
    click(window, buttons[0])
    assert f"cannot change {drawings[0].path}: No such file or directory" in status(window)
    assert buttons[0].instate(["!disabled"]) and len(list(folder.iterdir())) == 11


def test_a_damaged_network_of_a_hand_is_named_and_the_shipped_one_reads(usual_screen, open_on, tmp_path):
    (tmp_path / "data/digit-recognizer").mkdir(parents=True)
    (tmp_path / "data/digit-recognizer/my_hand.pth").write_bytes(b"damaged")
    window = open_on(usual_screen)
    assert "Your hand cannot be read with: " in status(window)
    assert "comes with the package" in window.layout.model_label.cget("text")


def test_the_window_asks_for_as_many_drawings_as_learning_does_and_keeps_them_where_programs_do(monkeypatch):
    assert hand_app.ENOUGH == adaptation.MIN_PICTURES
    monkeypatch.setattr(sys, "platform", "linux")
    for given, folder in (("/data", Path("/data")), ("data", Path.home() / ".local/share")):  # a relative one is none
        monkeypatch.setenv("XDG_DATA_HOME", given)
        assert hand_app.own_folder() == folder / "digit-recognizer"


def test_training_runs_beside_a_window_in_use_and_stops(window):
    window.training.recipe = SLOW
    before = window.recognizer
    start_training(window)
    thread, history = window.training.thread, window.training.history
    for corners, expected in ((SEVEN, "7"), (ONE, "1")):
        epochs = len(history)
        draw(window, corners)
        assert digit(window) == expected and window.training.thread is thread
        wait_until(window, lambda epochs=epochs: len(history) > epochs)
        xdotool(window, "key", "Escape")
    click(window, window.layout.train_button)
    thread.join(PATIENCE)
    assert not thread.is_alive() and thread.progress < 1
    assert window.training.thread is None and window.recognizer is before
    assert window.layout.train_button.cget("text") == "Train a new model" and "stopped" in status(window)


def test_a_trained_network_reads_from_then_on_and_is_saved_when_asked(window, tmp_path, choose):
    before, save_button = window.recognizer, window.layout.save_model_button
    start_training(window)
    wait_until(window, lambda: window.training.thread is None)
    assert window.recognizer is not before and "Save model" in status(window)
    assert len(window.training.history) == 10 and window.training.trained.record["scores"]["accuracy"] > 0.9
    choose.append("optdigits_model.pth")
    click(window, save_button)
    saved = checkpoints.load(tmp_path / "optdigits_model.pth")
    assert (saved.recipe.name, saved.record["dataset"]) == ("mlp_128_64_adam_10ep", "optdigits")
    assert window.training.trained is None and save_button.instate(["disabled"])


@pytest.mark.parametrize("damaged", [False, True])
def test_without_mnist_the_embedded_set_is_used_and_damaged_files_are_named(window, tmp_path, no_network, damaged):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    if damaged:
        for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            (folder / f"{name}-ubyte").write_bytes(b"damaged")
    window.training.dataset, window.training.data_dir, window.training.recipe = "mnist", str(tmp_path), SLOW
    start_training(window)
    embedded = "MNIST is neither on disk nor can it be downloaded; training on optdigits"
    assert (("MNIST" if damaged else embedded) in status(window)) and damaged == (window.training.thread is None)
    assert str(window.layout.status_label.cget("foreground")) != "#222222"


def test_closing_asks_where_something_would_be_lost(window, monkeypatch):
    asked = []
    monkeypatch.setattr("tkinter.messagebox.askokcancel", lambda *text, **options: asked.append(text[1]))
    window.training.trained = True
    window.close()
    window.root.update()  # it is still there
    click(window, window.layout.train_button)
    questions = ["Close all the same?", "Train another in its place?"]
    assert asked == [f"The trained model is not saved. {question}" for question in questions]
    assert window.training.thread is None


@pytest.mark.parametrize(("size", "dots_per_inch"), [("800x600", 96), ("1280x800", 192), ("2560x1600", 192)])
def test_nothing_is_clipped_on_small_and_scaled_screens(size, dots_per_inch, screen, open_on):
    display, (width, height) = screen(size, dots_per_inch), map(int, size.split("x"))
    window = open_on(display)
    layout, root = window.layout, window.root
    layout.model_label.configure(text=f"Network: {'n' * 30}")
    warnings = "Dark on light, inverted; 3 separate shapes, the largest was read; very thin strokes thickened"
    layout.warnings_label.configure(text=warnings)
    layout.training_label.configure(text="optdigits, first epoch…")
    layout.folder_button.configure(text="my dr…wings (1234)…")
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
            if widget.winfo_class() in ("TLabel", "TButton", "TScale"):  # a canvas takes the space that is left
                assert widget.winfo_width() >= widget.winfo_reqwidth(), widget
                assert widget.winfo_height() >= widget.winfo_reqheight(), widget


def test_ctrl_c_ends_a_window_in_which_nothing_happens(usual_screen, tmp_path):
    program = """if True:
        from digit_recognizer.apps import window
        from digit_recognizer.cli.parser import run_main

        open_window = window.open_window

        def open_idle(*given):
            opened = open_window(*given)
            opened.layout.forget_button.focus_force()  # in the canvas a cursor blinks, which wakes Tk
            opened.root.after(500, lambda: print("idle", flush=True))
            return opened

        window.open_window = open_idle
        run_main(window.run)
    """
    environment = {**os.environ, "DISPLAY": usual_screen, "XDG_DATA_HOME": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes) as process:
        assert process.stdout.readline() == "idle\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(PATIENCE) == 130
        finally:
            process.kill()
        assert process.stderr.read() == "\nstopped by Ctrl-C; no file is left half-written\n"


def test_what_keeps_the_window_from_opening_is_one_line(monkeypatch, tmp_path, request):
    with monkeypatch.context() as patch, pytest.raises(UserError, match="install python3-tk, or use the page instead"):
        patch.setitem(sys.modules, "tkinter", None)
        window_app.run()
    display = request.getfixturevalue("usual_screen")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError, match=r"there is no display .*; use the page instead: digits serve"):
        window_app.run()
    monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(UserError, match="absent"):
        window_app.run(model=str(tmp_path / "absent.pth"))
