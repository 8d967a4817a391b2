"""Take the pictures of window and pages that README and docs show: `make pictures`.

It needs what the tests of these need: Chromium, Xvfb and tkinter; and MNIST, of which one page is made. The pictures
that are read come from notebooks/your_own_handwriting.ipynb; the networks are those in the package.
"""

import io
import json
import math
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from conftest import CHROMIUM, QUIET
from page_client import served
from PIL import Image, ImageGrab, ImageOps
from playwright.sync_api import Page, sync_playwright
from scipy import interpolate

from benchmarks.trials import drawn_hand

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "figures"
PATIENCE = 120  # seconds
# Drawings: x and y of a unit square.
TOP = [(0.7, 0.16), (0.36, 0.19), (0.31, 0.45)]  # of a 5
BELLY = [(0.31, 0.45), (0.5, 0.43), (0.68, 0.56), (0.66, 0.75), (0.5, 0.86), (0.29, 0.76)]
ZERO = [(0.5 - 0.18 * math.sin(turn * math.pi / 20), 0.5 - 0.29 * math.cos(turn * math.pi / 20)) for turn in range(41)]
SLASH = [(0.24, 0.26), (0.76, 0.76)]  # against the usual direction


def main() -> None:
    """Take all, into figures/."""
    with tempfile.TemporaryDirectory() as folder:
        photograph, page = _pictures_of_the_notebook()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
            _take_pages(browser, Path(folder), photograph, page)
            _take_draw_html(browser)
            browser.close()
        _take_window(Path(folder))


def _pictures_of_the_notebook() -> tuple[bytes, bytes]:
    """The photographed 4 and the photographed page of the notebook, as JPEG files."""
    notebook = json.loads((ROOT / "notebooks/your_own_handwriting.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    made: dict[str, Any] = {}
    exec(cells[0].replace("%matplotlib inline", ""), made)  # the project's own notebook
    for cell in cells:
        if "photograph = " in cell or "photographed_page = " in cell:
            exec(cell.split("\n\nprediction = ")[0], made)
    return tuple(_jpeg(made[name]) for name in ("photograph", "photographed_page"))  # type: ignore[return-value]


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def _take_pages(browser: Any, folder: Path, photograph: bytes, page: bytes) -> None:
    """The page of digits serve with one digit, and the answer to a page of digits."""
    (folder / "models").mkdir()
    with served(folder / "server", folder / "models") as server:
        tab = _open(browser, f"http://127.0.0.1:{server.port}", photograph)
        tab.set_viewport_size({"width": 1000, "height": _height(tab)})
        tab.wait_for_timeout(1000)
        last = tab.get_by_text("Noticed in the picture").bounding_box()
        tab.screenshot(
            path=FIGURES / "web_page.png",
            clip={"x": 0, "y": 0, "width": 1000, "height": last["y"] + last["height"] + 40},
        )
        tab.close()
        tab = _open(browser, f"http://127.0.0.1:{server.port}", page)
        tab.set_viewport_size({"width": 1000, "height": _height(tab)})
        tab.wait_for_timeout(1000)
        answer, image = (tab.locator(found).first.bounding_box() for found in (".answer", "[data-testid=stImage] img"))
        top, bottom = answer["y"] - 10, image["y"] + image["height"] + 70
        clip = {"x": answer["x"] - 10, "y": top, "width": 740, "height": bottom - top}
        tab.screenshot(path=FIGURES / "web_page_number.png", clip=clip)
        tab.close()


def _open(browser: Any, address: str, picture: bytes) -> Page:
    """A tab of the page that has read this picture."""
    tab = browser.new_page(viewport={"width": 1000, "height": 900})
    tab.set_default_timeout(1000 * PATIENCE)
    tab.goto(address)
    tab.get_by_text("One picture, or many at once").wait_for()
    file = {"name": "photograph.jpg", "mimeType": "image/jpeg", "buffer": picture}
    tab.locator("input[type=file]").set_input_files([file])
    tab.get_by_text("Noticed in the picture").wait_for()  # the last to come
    tab.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    return tab


def _height(tab: Page) -> int:
    return tab.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")


def _take_draw_html(browser: Any) -> None:
    """docs/draw.html with a 5 drawn on it."""
    tab = browser.new_page(viewport={"width": 900, "height": 760}, device_scale_factor=1.5)
    tab.goto((ROOT / "docs/draw.html").as_uri())
    box = tab.locator("#paper").bounding_box()
    curve = interpolate.CubicSpline(range(len(BELLY)), BELLY)(np.linspace(0, len(BELLY) - 1, 30))
    points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (*TOP, *curve)]
    tab.mouse.move(*points[0])
    tab.mouse.down()
    for point in points[1:]:
        tab.mouse.move(*point, steps=8)
    tab.mouse.up()
    tab.wait_for_timeout(500)
    tab.screenshot(path=FIGURES / "draw_html.png", full_page=True)
    tab.close()


def _take_window(folder: Path) -> None:
    """The window, which has learned a drawn hand, and reads a zero of it."""
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1280x800x24", "-dpi", "96", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as screen:
        try:
            os.environ |= {"DISPLAY": f":{screen.stdout.readline().strip()}", "XDG_DATA_HOME": str(folder / "data")}
            _show_window()
        finally:
            screen.terminate()


def _show_window() -> None:
    from digit_recognizer.apps import window as window_app
    from digit_recognizer.apps.window import drawing

    window = window_app.open_window()
    for label, image in drawn_hand.pictures(5, seed=1):
        drawing.save_drawing(ImageOps.invert(image), window.hand.folder, label)
    for stroke in (ZERO, SLASH):
        window.drawing.add(drawing.Stroke(0.08, stroke))
    window._redraw()
    window.update_buttons()
    window.layout.learn_button.invoke()
    _run(window, until=lambda: window.hand.thread is None)
    end = time.monotonic() + 1
    _run(window, until=lambda: time.monotonic() > end)
    left, top = window.root.winfo_rootx(), window.root.winfo_rooty()
    corners = (left, top, left + window.root.winfo_width(), top + window.root.winfo_height())
    ImageGrab.grab(corners, xdisplay=os.environ["DISPLAY"]).save(FIGURES / "draw_window.png")
    window.root.destroy()


def _run(window: Any, until: Any) -> None:
    """Run the window's events until this holds."""
    end = time.monotonic() + PATIENCE
    while not until():
        if time.monotonic() > end:
            raise SystemExit(f"still waiting; the window says: {window.layout.status_label.cget('text')}")
        window.root.update()
        time.sleep(0.001)


if __name__ == "__main__":
    main()
