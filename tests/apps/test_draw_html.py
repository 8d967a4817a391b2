"""docs/draw.html in a real browser, opened as a file: what is drawn on it is answered as the package answers it."""

import base64
import io
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from digit_recognizer import data, export, models, recipes
from digit_recognizer.models import Normalize
from digit_recognizer.preprocessing.page import analyze
from digit_recognizer.recognition.recognizer import Recognizer

PAGE = Path(__file__).parents[2] / "docs/draw.html"
MAX_DIFFERENCE = 0.02  # of a probability; the file has the weights in float16
# Digits as people write them, a list of strokes each: x and y of a unit square.
STROKES = {
    0: [[(0.5, 0.1), (0.3, 0.2), (0.2, 0.5), (0.3, 0.8), (0.5, 0.9), (0.7, 0.75), (0.8, 0.45), (0.7, 0.2), (0.5, 0.1)]],
    1: [[(0.4, 0.25), (0.52, 0.1), (0.5, 0.9)]],
    2: [[(0.25, 0.3), (0.4, 0.12), (0.65, 0.15), (0.72, 0.35), (0.5, 0.6), (0.22, 0.88), (0.8, 0.86)]],
    3: [[(0.25, 0.15), (0.6, 0.12), (0.7, 0.28), (0.45, 0.47), (0.7, 0.6), (0.68, 0.82), (0.45, 0.9), (0.22, 0.8)]],
    4: [[(0.35, 0.12), (0.22, 0.55), (0.8, 0.55)], [(0.62, 0.3), (0.6, 0.92)]],
    5: [[(0.72, 0.12), (0.32, 0.14), (0.3, 0.45), (0.6, 0.45), (0.72, 0.65), (0.55, 0.88), (0.25, 0.85)]],
    6: [[(0.65, 0.1), (0.38, 0.35), (0.26, 0.65), (0.4, 0.88), (0.65, 0.82), (0.68, 0.6), (0.45, 0.52), (0.28, 0.68)]],
    7: [[(0.22, 0.15), (0.76, 0.15), (0.42, 0.9)], [(0.34, 0.52), (0.68, 0.52)]],
    8: [[(0.5, 0.5), (0.3, 0.3), (0.5, 0.1), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.5, 0.9), (0.7, 0.7), (0.5, 0.5)]],
    9: [[(0.7, 0.3), (0.5, 0.12), (0.3, 0.28), (0.42, 0.48), (0.68, 0.4), (0.7, 0.25), (0.64, 0.9)]],
}  # fmt: skip
ODD = [
    [[(0.2, 0.2), (0.2, 0.8)], [(0.6, 0.2), (0.85, 0.2), (0.65, 0.8)]],  # a 1 and a 7
    [[(0.5, 0.5), (0.5, 0.5)]],  # a point
    [[(0.3, -0.3), (0.5, 0.4), (0.2, 1.3)]],  # off the canvas and back
    [[(0.02, 0.1), (0.02, 0.9)], [(0.4, 0.2), (0.75, 0.2), (0.5, 0.8)]],  # along the border, beside a 7
    [[(0.3, 0.2), (0.6, 0.5), (0.3, 0.8)], [(0.8, 0.9), (0.83, 0.9)]],  # a sign and a dot
    [[(-0.5, 0.2), (-0.2, 0.8)]],  # beside the canvas
    [[(0.1, 0.1), (0.9, 0.9)], [(0.9, 0.1), (0.1, 0.9)], [(0.1, 0.5), (0.9, 0.5)], [(0.5, 0.1), (0.5, 0.9)]],
    [[(0.2, 0.1), (0.7, 0.1), (0.4, 0.9)]],
    [[(0.3, 0.45), (0.7, 0.4)], [(0.3, 0.6), (0.7, 0.6)]],  # an equals sign
    [[(0.45, 0.4), (0.55, 0.4), (0.5, 0.5)]],  # small
]
ENLARGED = 3  # times that each pixel of a painted picture is as long on the canvas
# What is said of pictures of which the opacity is the ink, base64 of PNG files, painted one after the other.
PAINT = """async ([files, enlarged]) => {
    const answers = [];
    for (const file of files) {
        const bytes = Uint8Array.from(atob(file), letter => letter.charCodeAt(0));
        const picture = await createImageBitmap(new Blob([bytes]));
        const side = enlarged * picture.width, context = new OffscreenCanvas(side, side).getContext("2d");
        context.imageSmoothingEnabled = false;
        context.drawImage(picture, 0, 0, side, side);
        const answer = digitPage.paint(context.getImageData(0, 0, side, side));
        answers.push({...answer, image: Array.from(answer.image)});
    }
    return JSON.stringify(answers);
}"""
# The last answer, once the page has seen what was drawn, and the ink on its canvas.
LOOK = """async () => {
    for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
    const canvas = document.getElementById("paper");
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let ink = "";
    for (let i = 3; i < data.length; i += 4) ink += String.fromCharCode(data[i]);
    const image = Array.from(digitPage.answer.image);
    return JSON.stringify({...digitPage.answer, image, ink: btoa(ink), side: canvas.width});
}"""


@pytest.fixture(scope="module")
def visit(chromium):
    """visit(path, **context) opens a page in a window of its own, offline; it asks for nothing and has no errors."""
    contexts, asked, errors = [], [], []

    def open_page(path=PAGE, **settings):
        context = chromium.new_context(**{"viewport": {"width": 900, "height": 760}, **settings})
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    elsewhere = [url for url in asked if not url.startswith(("file:", "data:"))]
    assert (errors, elsewhere) == ([], []) and len(asked) >= len(contexts)


@pytest.fixture(scope="module")
def shared(visit):
    return visit()


@pytest.fixture
def page(shared):
    """The page, blank: the tests share it."""
    shared.keyboard.press("Escape")
    return shared


def paint(page, images) -> tuple[list[dict], list[np.ndarray]]:
    """Paint digits, uint8 (n, 28, 28), as large as the canvas. Returns the answers, and the ink of each."""
    side, answers, inks = page.evaluate("document.getElementById('paper').width"), [], []
    for start in range(0, len(images), 100):
        files = []
        for image in images[start : start + 100]:
            small = Image.fromarray(image.numpy()).resize(2 * [side // ENLARGED], Image.Resampling.BICUBIC)
            file = io.BytesIO()
            Image.merge("LA", [Image.new("L", small.size), small]).save(file, "PNG", compress_level=1)
            files.append(base64.b64encode(file.getvalue()).decode())
            inks.append(np.kron(np.asarray(small), np.ones(2 * [ENLARGED], np.uint8)))
        answers += json.loads(page.evaluate(PAINT, [files, ENLARGED]))
    assert (look(page)[1] == inks[-1]).all()
    return answers, inks


def read_inks(network: Recognizer, inks: list[np.ndarray]):
    """What the package says of black ink on white paper."""
    return network.read([analyze(255 - ink).digit() for ink in inks])


def compare(predictions, answers, what: str, record_property) -> tuple[int, float]:
    """How many answers are the package's, digit, reason and warnings, and the largest difference of a probability."""
    same = sum(
        (prediction.digit, prediction.reason) == (answer["digit"], answer["reason"])
        for prediction, answer in zip(predictions, answers, strict=True)
    )
    pairs = [(each.probabilities, answer["probabilities"]) for each, answer in zip(predictions, answers, strict=True)]
    difference = max(float(np.abs(np.subtract(*pair)).max()) for pair in pairs)
    times = sorted(answer["milliseconds"] for answer in answers)
    equal = sum(
        each.image.ravel().tolist() == answer["image"] for each, answer in zip(predictions, answers, strict=True)
    )
    said = (
        f"{what}: {same} of {len(answers)} answers alike, probabilities differ by {difference:.1e} at most, "
        f"{equal} images are equal; milliseconds: median {times[len(times) // 2]:.0f}, most {times[-1]:.0f}"
    )
    print(said)
    assert equal >= 0.7 * len(answers), said  # Pillow before version 13 rounds tall images otherwise
    record_property("measured", said)
    return same, difference


def test_a_thousand_painted_digits_are_answered_as_the_package_answers_them(page, network, mnist, record_property):
    answers, inks = paint(page, mnist.test.images[:1000])
    same, difference = compare(read_inks(network, inks), answers, "painted digits", record_property)
    assert same >= 998 and difference <= MAX_DIFFERENCE


def drawings() -> list[list[list[tuple[float, float]]]]:
    """Fifty drawings: four of each digit, turned, stretched and moved, and the odd ones."""
    chance, found = random.Random(0), []
    for strokes in [*STROKES.values()] * 4:
        angle, size = chance.uniform(-0.2, 0.2), chance.uniform(0.4, 0.95)
        tall, across, down = chance.uniform(0.8, 1.1), chance.uniform(-0.1, 0.1), chance.uniform(-0.1, 0.1)

        def move(x, y, angle=angle, size=size, tall=tall, across=across, down=down):
            x, y = size * (x - 0.5), size * tall * (y - 0.5)
            turned = x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
            return 0.5 + across + turned[0], 0.5 + down + turned[1]

        found.append([[move(*point) for point in stroke] for stroke in strokes])
    return found + ODD


def draw(page, strokes, touch=None) -> None:
    """Draw with the mouse; with a finger where touch, a session of the browser's protocol, is given."""
    box = page.locator("#paper").bounding_box()
    for stroke in strokes:
        first, *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        if touch is None:
            # A stroke begins on the paper.
            page.mouse.move(*first)
            page.mouse.down()
            for point in others:
                page.mouse.move(*point, steps=2)
            page.mouse.up()
            continue
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": first[0], "y": first[1]}]})
        for x, y in others:
            touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def look(page) -> tuple[dict, np.ndarray]:
    """What the page says, and the ink on it: uint8 (side, side)."""
    answer = json.loads(page.evaluate(LOOK))
    ink = np.frombuffer(base64.b64decode(answer.pop("ink")), np.uint8).reshape(2 * [answer.pop("side")])
    return answer, ink


@pytest.mark.parametrize("device", ["mouse", "touch"])
def test_fifty_drawings_are_answered_as_the_package_answers_them(visit, network, device, record_property):
    """Half of them with each device."""
    is_touch = device == "touch"
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) if is_touch else visit()
    touch = page.context.new_cdp_session(page) if is_touch else None
    looked = []
    for number, strokes in enumerate(drawings()):
        if (number // 5 % 2 == 1) == is_touch:
            draw(page, strokes, touch)
            looked.append(look(page))
            page.keyboard.press("Escape")
    answers, inks = zip(*looked, strict=True)
    predictions = read_inks(network, list(inks))
    same, difference = compare(predictions, answers, f"drawings by {device}", record_property)
    assert len(answers) == 25 and same >= 24 and difference <= MAX_DIFFERENCE
    for prediction, answer in zip(predictions, answers, strict=True):
        assert answer["warnings"] == [words for words in prediction.warnings if words != "dark on light, inverted"]
    assert len({answer["digit"] for answer in answers}) > 5 and {answer["reason"] for answer in answers} > {None}


def fresh_networks() -> dict[str, nn.Module]:
    """Networks with every layer that a page can hold, with fresh weights."""
    by_recipe = {
        "an MLP": recipes.get("mlp_512_256_adam_5ep"),
        "log-softmax": recipes.get("mlp_128_64_adam_200ep"),
        "softmax": recipes.get("mlp_128_64_adam_10ep_softmax"),
        "an MLP with batch normalisation": recipes.get("mlp_best", widths=(784, 30, 30, 10)),
        "a CNN": recipes.get("cnn_in_seconds"),
    }
    found = {name: models.build(recipe) for name, recipe in by_recipe.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 5, 4, stride=3, padding=2), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(45, 10)]
    return found | {"odd sizes": nn.Sequential(Normalize(0.2, 0.4), *layers)}


NETWORKS = fresh_networks()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_gives_what_pytorch_gives(name, visit, optdigits, tmp_path, record_property):
    model, images = NETWORKS[name], optdigits.test.images[:20]
    last = [layer for layer in model if isinstance(layer, nn.Linear)][-1]
    last.weight.data *= 10  # fresh weights know no digit from another
    model.train()(data.to_pixels(optdigits.train.images[:100]))  # moves the running means off their first values
    export.write(
        tmp_path / "page.html", model, "html", {"calibration": '{"temperature": 1.5, "rejection_threshold": 0.0}'}
    )
    answers, inks = paint(visit(tmp_path / "page.html"), images)
    recognizer = Recognizer(model, 1.5, gives_probabilities=name == "softmax")
    same, difference = compare(read_inks(recognizer, inks), answers, name, record_property)
    assert same >= 19 and difference <= MAX_DIFFERENCE
    assert len({answer["digit"] for answer in answers}) > 1


def said(page) -> tuple[str, str, str]:
    """The digit, how sure, and the notes below, as they are shown."""
    look(page)  # waits until they are
    return tuple(page.locator(f"#{part}").inner_text() for part in ("digit", "sure", "notes"))


SEVEN = [[(0.2, 0.15), (0.75, 0.15), (0.4, 0.9)]]


def test_a_blank_page_says_so_and_a_drawing_is_cleared_and_undone_by_buttons_and_keys(page):
    blank = ("", "Nothing is drawn yet", "")
    assert said(page) == blank and page.get_by_text("Draw a digit here").is_visible()
    draw(page, SEVEN)
    seven = said(page)
    assert seven[0] == "7" and seven[1].endswith("% sure") and page.get_by_text("Draw a digit here").is_hidden()
    assert page.get_by_role("status").inner_text() == f"7, {seven[1]}"
    assert page.locator("li.first").inner_text().split()[0] == "7" and page.locator("li").count() == 10
    draw(page, [[(0.9, 0.3), (0.9, 0.85)], [(0.96, 0.3), (0.96, 0.85)]])
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert said(page) == seven
    for key in ("Escape", "Delete"):
        page.keyboard.press(key)
        assert said(page) == blank and page.get_by_role("status").inner_text() == blank[1]
        page.get_by_role("button", name="Undo").click()
        assert said(page) == seven
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Enter")
    assert said(page) == blank
    draw(page, ODD[0])
    assert said(page) == ("–", "No digit: several digits", "draw one at a time")
    for _ in range(12):  # more often than there are steps
        page.get_by_role("button", name="Undo").click()
    assert said(page) == blank


def test_a_resize_keeps_the_drawing_and_the_next_stroke_lands_under_the_pen(page):
    draw(page, [SEVEN[0][:2]])
    before, ink = look(page)
    page.set_viewport_size({"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    after, same_ink = look(page)
    assert (ink == same_ink).all() and after["probabilities"] == before["probabilities"]
    draw(page, [SEVEN[0][1:]])
    answer, whole = look(page)
    page.set_viewport_size({"width": 900, "height": 760})
    assert answer["digit"] == 7
    page.keyboard.press("Escape")
    draw(page, SEVEN)
    assert np.mean(np.abs(np.subtract(look(page)[1], whole, dtype=int)) > 99) < 0.01


def test_a_second_finger_and_the_right_button_draw_nothing(visit, page):
    phone = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, color_scheme="dark")
    touch, box = phone.context.new_cdp_session(phone), phone.locator("#paper").bounding_box()
    first, second = ({"x": box["x"] + place, "y": box["y"] + 100, "id": place} for place in (100, 250))
    for kind, points in (("touchStart", [first]), ("touchStart", [first, second]), ("touchEnd", [])):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    columns = look(phone)[1].any(0).nonzero()[0]
    assert len(columns) and np.ptp(columns) < 40
    page.mouse.move(200, 200)
    page.mouse.down(button="right")
    page.mouse.move(300, 300)
    page.mouse.up(button="right")
    assert not look(page)[1].any()


def test_the_page_may_reach_nothing_and_links_to_the_code(page):
    assert page.evaluate("fetch('https://example.org').then(() => 'reached', () => 'refused')") == "refused"
    link = page.get_by_role("link")
    assert (PAGE.parent / link.get_attribute("href")).resolve() == PAGE.parents[1] / "README.md"


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("https://someone.github.io/digits/docs/draw.html", "https://github.com/someone/digits"),
        ("https://someone.github.io/draw.html", "https://github.com/someone/someone.github.io"),
        ("https://example.org/draw.html", None),  # where it was put alone, the project has a name and no address
    ],
)
def test_on_a_server_it_links_to_the_repository_where_the_address_tells_it(address, code, chromium):
    with chromium.new_context() as context:
        context.route("**", lambda route: route.fulfill(path=PAGE, content_type="text/html"))
        page = context.new_page()
        page.goto(address)
        assert page.get_by_text("the project Digit Recognizer").get_attribute("href") == code
        draw(page, SEVEN)
        assert said(page)[0] == "7"


def test_a_pen_draws(page):
    session, box = page.context.new_cdp_session(page), page.locator("#paper").bounding_box()
    page.evaluate("addEventListener('pointerdown', event => { window.kind = event.pointerType; }, {once: true})")
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN[0]]
    for kind, (x, y) in zip(("Pressed", "Moved", "Moved", "Released"), [*points, points[-1]], strict=True):
        pen = {"pointerType": "pen", "button": "left", "buttons": int(kind != "Released"), "clickCount": 1}
        session.send("Input.dispatchMouseEvent", {"type": f"mouse{kind}", "x": x, "y": y, **pen})
    assert (said(page)[0], page.evaluate("kind")) == ("7", "pen")


def test_without_storage_webgl_touch_and_colours_of_its_own_it_reads(visit, tmp_path):
    """In a frame without an origin, whose storage is blocked; with the colours of Windows's high contrast."""
    frame = f'<iframe sandbox="allow-scripts" src="{PAGE.as_uri()}" width="850" height="700"></iframe>'
    (tmp_path / "frame.html").write_text(frame)
    outer = visit(tmp_path / "frame.html", forced_colors="active")
    page = outer.frames[1]
    blocked = "() => { try { return typeof localStorage; } catch (error) { return error.name; } }"
    assert page.evaluate(blocked) == "SecurityError"
    page.evaluate("HTMLCanvasElement.prototype.getContext = () => null")  # after start it asks for none
    box = page.locator("#paper").bounding_box()
    corners = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN[0]]
    outer.mouse.move(*corners[0])
    outer.mouse.down()
    for corner in corners[1:]:
        outer.mouse.move(*corner)
    outer.mouse.up()
    page.locator("li.first").wait_for()
    assert page.locator("#digit").inner_text() == "7"
    colours = "bar => [getComputedStyle(bar).backgroundColor, getComputedStyle(bar.parentElement).backgroundColor]"
    assert len(set(page.locator("li.first .bar").evaluate(colours))) == 2  # the bar is seen


def test_without_javascript_the_page_says_so(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#sure").inner_text() == "This page needs JavaScript."
