"""The page's true server, which the tests of trust and those in the browser share; and that browser."""

import os
import shutil
import socket
from pathlib import Path

import pytest
from page_client import served

from digit_recognizer import checkpoints

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)
# Python's own audit of what a program opens, asks for and reaches, from its first line on.
RECORDER = """
import os, sys
record = os.open(os.environ["DIGITS_TEST_RECORD"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def note(event, arguments):
    if event in ("open", "os.mkdir", "os.rename", "subprocess.Popen") or event.startswith("socket."):
        os.write(record, (event + " " + ascii(arguments) + "\\n").encode())
sys.addaudithook(note)
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory, trained, small_recipe) -> Path:
    """A folder of models with two that may be read, among much that may not; `elsewhere` lies beside it."""
    top = tmp_path_factory.mktemp("page")
    models = top / "models"
    (models / "folder.pth").mkdir(parents=True)
    (top / "elsewhere").mkdir()
    for path in (top / "elsewhere" / "forbidden.pth", models / ".hidden.pth", models / "good.pth"):
        checkpoints.save(path, trained[0], small_recipe, {})
    for name in (b"damaged.pth", b"two\nlines.pth", "turned\u202eround.pth".encode(), b"no\xfftext.pth"):
        Path(os.fsdecode(os.fsencode(models) + b"/" + name)).write_bytes(b"no model")
    links = {"inside": "good", "outside": "../elsewhere/forbidden", "absent": "nowhere", "circle": "circle"}
    for name, target in links.items():
        (models / f"{name}.pth").symlink_to(f"{target}.pth")
    os.mkfifo(models / "pipe.pth")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(models / "socket.pth"))
    return top


@pytest.fixture(scope="session")
def server(folder):
    """The server, watched by Python's audit. It leaves no file behind."""
    (folder / "sitecustomize.py").write_text(RECORDER)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    home = folder / "server"
    with served(home, folder / "models", PYTHONPATH=path, DIGITS_TEST_RECORD=str(folder / "record")) as running:
        yield running
    assert [path for path in home.rglob("*") if path.is_file()] == [home / "log"]


@pytest.fixture(scope="module")
def chromium():
    """The browser. Where CI_SCREEN promises one, a test that needs it never skips.

    It ends with this module: while playwright runs, other tests of this process can start no event loop.
    """
    missing = None if shutil.which(CHROMIUM) else f"there is no {CHROMIUM}; apt-get install chromium"
    try:
        from playwright import sync_api
    except ImportError:
        missing = "playwright is not installed"
    if missing:
        (pytest.fail if os.environ.get("CI_SCREEN") == "1" else pytest.skip)(missing)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield browser
        browser.close()
