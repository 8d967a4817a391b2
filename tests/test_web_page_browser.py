"""The web page in a true browser, Debian's Chromium, at the width of a desk and of a telephone."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from test_web_page import picture

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)
SIZES = {"desk": (1200, 1000), "telephone": (390, 844)}
PATIENCE = 45_000  # milliseconds; the first visit imports torch, perhaps beside a busy process


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the page is served, by a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("models")
    program = f"from digit_recognizer.apps import web_page; web_page.run({port}, {str(folder)!r})"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-c", program], stdout=log, stderr=log, cwd=folder)
    until = time.monotonic() + 45
    while server.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    server.send_signal(signal.SIGINT)
    try:
        assert server.wait(20) == 0
    finally:
        server.kill()
    said = (folder / "log").read_text()
    assert "Traceback" not in said and "Error" not in said, said


@pytest.fixture(scope="module")
def chromium():
    """The browser. Where CI_SCREEN promises one, a test that needs it never skips."""
    missing = None if shutil.which(CHROMIUM) else f"there is no {CHROMIUM}; apt-get install chromium"
    try:
        from playwright import sync_api
    except ImportError:
        missing = "playwright is not installed"
    if missing and os.environ.get("CI_SCREEN") == "1":
        pytest.fail(missing)
    elif missing:
        pytest.skip(missing)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield browser
        browser.close()


@pytest.fixture(params=SIZES)
def visit(request, chromium, address):
    """The page, loaded, in a window of one of the sizes; nothing on it may be wider than the window."""
    width, height = SIZES[request.param]
    page = chromium.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_text("One picture, or many at once").wait_for()
    yield page
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width
    assert page.locator("[data-testid=stException]").count() == 0
    page.close()


def upload(page, **files: bytes) -> None:
    payloads = [{"name": f"{name}.png", "mimeType": "image/png", "buffer": files[name]} for name in files]
    page.locator("input[type=file]").set_input_files(payloads)


def answer(page) -> str:
    page.locator(".answer").wait_for()
    return " ".join(page.locator(".answer").inner_text().split())


def screenshot(page, path: Path) -> tuple[int, int]:
    """Write the whole page as a picture; returns its width and height, pixels.

    Streamlit scrolls within its window, so the window is made as high as the page.
    """
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    size = page.viewport_size
    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": height})
    page.screenshot(path=path)
    page.set_viewport_size(size)
    with Image.open(path) as image:
        return image.size


def test_uploaded_pictures_are_read(visit, tmp_path):
    upload(visit, seven=picture("7"))
    assert re.fullmatch(r"Read as the digit 7 [\d.>]+% sure: .+", answer(visit))
    visit.get_by_text("Noticed in the picture").wait_for()  # the last to come
    assert screenshot(visit, tmp_path / "page.png")[0] == visit.viewport_size["width"]
    steps = visit.locator(".st-key-steps img")
    assert [bool(image.get_attribute("alt")) for image in steps.all()] == [True] * 3
    boxes = [image.bounding_box() for image in steps.all()] + [visit.locator("table.bars").bounding_box()]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= visit.viewport_size["width"] for box in boxes)
    assert len({round(box["y"]) for box in boxes}) == (1 if visit.viewport_size["width"] > 800 else 2)  # rows
    upload(visit, nothing=b"no picture")
    visit.get_by_text("1 of 2 pictures were read").wait_for()
    with visit.expect_download() as download:
        visit.get_by_role("button", name="Download the table").click()
    lines = Path(download.value.path()).read_text("utf-8-sig").splitlines()
    assert lines[0] == "file,read,confidence,note" and lines[1].startswith("seven.png,7,")
    assert lines[2].startswith('nothing.png,,,"nothing.png is not a picture')


def test_a_drawing_is_read_and_cleared(visit):
    visit.get_by_text("Draw", exact=True).click()
    visit.get_by_text("Nothing is drawn yet").wait_for()
    canvas = visit.locator("canvas").last
    canvas.scroll_into_view_if_needed()
    left, top = (canvas.bounding_box()[side] for side in "xy")
    visit.mouse.move(left + 110, top + 40)
    visit.mouse.down()
    for across, down in ((200, 40), (150, 200)):
        visit.mouse.move(left + across, top + down, steps=8)
    visit.mouse.up()
    assert answer(visit).startswith("Read as the digit 7")
    visit.get_by_role("button", name="Clear").click()
    visit.get_by_text("Nothing is drawn yet").wait_for()
    visit.locator(".answer").wait_for(state="detached")


def test_a_file_over_the_limit_is_refused_in_words(visit, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(21 * 2**20))
    visit.locator("input[type=file]").set_input_files(tmp_path / "large.png")
    message = visit.get_by_text("File must be 20.0MB or smaller")
    message.wait_for()
    visit.wait_for_function("document.querySelector('[data-testid=stFileChip] [role=alert]').offsetWidth > 100")
    box, chip = message.bounding_box(), visit.locator("[data-testid=stFileChip]").bounding_box()
    assert box["x"] + box["width"] <= chip["x"] + chip["width"]


def test_the_keyboard_chooses_the_camera_and_it_takes_a_picture(visit):
    radio = visit.get_by_role("radio", name="Upload a file")
    for _ in range(20):
        if radio.evaluate("radio => radio === document.activeElement"):
            break
        visit.keyboard.press("Tab")
    visit.keyboard.press("ArrowRight")
    visit.wait_for_function("document.querySelector('video')?.videoWidth > 0")
    visit.get_by_role("button", name="Take Photo").click()  # of the browser's own test card
    visit.locator(".answer").or_(visit.get_by_text("try again")).first.wait_for()
