"""The page lets nothing in and keeps nothing: its true server, asked what no browser would ask."""

import asyncio
import http.client
import os
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from page_client import Visitor, claiming, encoded, form, picture, request
from PIL import Image
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from digit_recognizer.apps.web import model_list
from digit_recognizer.apps.web import server as web_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into the server by /proc")
NETWORKS, SOURCES = "Which network reads?", "Where does the picture come from?"


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def record(folder: Path, *events: str) -> list[str]:
    """The arguments of the server's calls of these kinds so far."""
    lines = (line.split(" ", 1) for line in (folder / "record").read_text().splitlines())
    return [arguments for name, arguments in lines if name in events]


def visit(server, actions) -> None:
    """Let one visitor do something."""

    async def run() -> None:
        async with Visitor(server.port) as visitor:
            await actions(visitor)

    asyncio.run(run())


def test_only_models_of_the_folder_are_offered_and_opened(server, folder):
    names = [
        "outside.pth", "../elsewhere/forbidden.pth", str(folder / "elsewhere" / "forbidden.pth"), "folder.pth",
        "pipe.pth", "socket.pth", "circle.pth", "absent.pth", ".hidden.pth", "models/../../elsewhere/forbidden.pth",
        "", ".", "..\\elsewhere\\forbidden.pth", "good.pth/", "good.pth\0", "x" * 100_000, "/etc/passwd",
        "file:///etc/passwd", "two\nlines.pth",
    ]  # fmt: skip

    async def send(visitor):
        offered = [model_list.SHIPPED, "damaged.pth", "good.pth", "inside.pth"]
        assert list(visitor.widget(NETWORKS).options) == offered
        for name in names:
            await visitor.choose(NETWORKS, name)
            assert visitor.boxes == [], name
        await visitor.choose(NETWORKS, "damaged.pth")
        (box,) = visitor.boxes
        assert box.startswith("damaged.pth is not a model file")  # and not where it lies
        await visitor.choose(NETWORKS, "inside.pth")
        await visitor.upload(("seven.png", picture("7")))
        assert visitor.said.startswith("Read as the digit")

    visit(server, send)
    opened = "\n".join(record(folder, "open"))
    assert "models/good.pth" in opened and "models/damaged.pth" in opened  # the audit sees what is opened
    for name in ("forbidden", "models/outside", ".hidden", "pipe.pth", "socket.pth", "folder.pth", "/etc/passwd"):
        assert name not in opened


def test_a_model_that_changes_while_it_is_read_is_read_whole_or_refused(server, folder):
    path, content = folder / "models" / "written.pth", (folder / "models" / "good.pth").read_bytes()
    done = threading.Event()

    def write_again_and_again() -> None:
        while not done.is_set():
            for part in (content[:1000], content[: len(content) // 2], content):
                path.write_bytes(part)

    async def read(visitor):
        await visitor.upload(("seven.png", picture("7")))
        for _ in range(5):
            await visitor.choose(NETWORKS, path.name)
            assert visitor.said.startswith(("Read as the digit", f"{path.name} is not a model file"))
        done.set()
        writer.join()
        await visitor.run()
        assert visitor.said.startswith("Read as the digit")

    writer = threading.Thread(target=write_again_and_again)
    writer.start()
    try:
        visit(server, read)
    finally:
        done.set()
        writer.join()
        path.unlink()


def test_an_upload_needs_the_visitors_own_cookie_and_header_and_is_limited(server):
    async def try_all(visitor):
        path = f"/_stcore/upload_file/{visitor.session}/11111111-1111-1111-1111-111111111111"
        body, kind = form("seven.png", picture("7"))
        cookie, token = visitor.credentials["Cookie"], visitor.token
        for headers in ({}, {"Cookie": cookie}, {"X_Xsrftoken": token}, {"Cookie": cookie, "X_Xsrftoken": "2|00|00|0"}):
            assert request(server.port, "PUT", path, body, Content_Type=kind, **headers).status == 403
            assert request(server.port, "DELETE", path, **headers).status == 403
        for session in ("22222222-2222-2222-2222-222222222222", "..", "%2e%2e%2f%2e%2e"):
            other = path.replace(visitor.session, session)
            status = request(server.port, "PUT", other, body, Content_Type=kind, **visitor.credentials).status
            assert status in (400, 404, 405), session
        assert request(server.port, "PUT", path, body, Content_Type=kind, **visitor.credentials).status == 204
        body, kind = form("large.png", bytes((web_server.MAX_FILE_MB + 2) * 2**20))
        assert request(server.port, "PUT", path, body, Content_Type=kind, **visitor.credentials).status == 413
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in visitor.credentials.items()}
        parts = (body[start : start + 2**20] for start in range(0, len(body), 2**20))
        connection.request("PUT", path, parts, headers | {"Content-Type": kind}, encode_chunked=True)  # of no length
        assert connection.getresponse().status == 413
        connection.close()

    visit(server, try_all)


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("127.0.0.1", "http://127.0.0.1", True),
        ("localhost", "http://localhost", True),
        ("127.0.0.1", "http://a.example", False),
        ("127.0.0.1", "null", False),
        ("a.example", "http://a.example", False),  # DNS rebinding: the name was made to lead to 127.0.0.1
    ],
)
def test_pages_of_other_origins_are_not_let_in(server, host, origin, allowed):
    origin = origin if origin == "null" else f"{origin}:{server.port}"
    assert can_connect(server.port, host, origin) is allowed
    response = request(server.port, "GET", "/_stcore/health", Origin=origin)
    assert response.getheader("Access-Control-Allow-Origin") is None


def can_connect(port: int, host: str, origin: str) -> bool:
    """Whether a session is opened for a page of that origin that calls the server by that name."""

    async def open_session() -> bool:
        address = f"ws://{host}:{port}/_stcore/stream"
        try:
            async with connect(address, origin=origin, host="127.0.0.1", port=port, proxy=None):
                return True
        except InvalidStatus as refusal:
            assert refusal.response.status_code == 403
            return False

    return asyncio.run(open_session())


def test_the_server_is_seen_from_this_machine_only_and_serves_no_files(server):
    with pytest.raises(ConnectionRefusedError):  # a server that listens on all addresses answers here, too
        socket.create_connection(("127.0.0.2", server.port), timeout=5)
    page = request(server.port, "GET", "/").content
    for path in ("/app/static/page.py", "/app/static/../page.py", "/media/../../page.py", "/secrets.toml"):
        response = request(server.port, "GET", path)
        assert response.status in (400, 404) or response.content == page, path
    assert request(server.port, "POST", "/_stcore/agent/interact", b"{}", Content_Type="application/json").status >= 400


def test_uploads_stay_in_memory_and_their_names_are_never_paths(server, folder):
    noise = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (1100, 1100, 3), np.uint8)))
    assert len(noise) > 3 * 2**20

    async def upload(visitor):
        await visitor.upload(("../../../etc/passwd", noise), ("/etc/hostname", b"no picture"), ("", b"no picture"))
        assert visitor.widget("Download the table (CSV)") and not visitor.boxes
        open_now = [str(link.readlink()) for link in Path(f"/proc/{server.process}/fd").iterdir()]
        assert files_under(server.home) == [server.home / "log"]
        assert [name for name in open_now if name.startswith(f"{server.home}/") and not name.endswith("/log")] == []
        await visitor.remove_files()
        await visitor.upload(("/etc/hostname", b"no picture"))
        (box,) = visitor.boxes
        assert "is not a picture" in box

    visit(server, upload)
    temporary, opened = str(server.home / "temporary"), record(folder, "open")
    assert not [line for line in opened if "/etc/passwd" in line or "/etc/hostname" in line]
    written = [line for line in opened if opens_for_writing(line) and "/dev/null" not in line]
    assert [line for line in written if temporary not in line] == []
    # Streamlit's server passes more than a megabyte through a file without a name, gone once it is read. Before the
    # first one Python tries the folder out with a file of its own.
    assert len([line for line in written if f"{temporary}/" in line]) <= 1


def opens_for_writing(line: str) -> bool:
    """Whether the arguments of an audited `open` (path, mode, flags) ask for more than reading."""
    return bool(int(line.rstrip(")").rsplit(",", 1)[1]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def test_the_server_contacts_nobody(server, folder):
    visit(server, lambda visitor: visitor.upload(("seven.png", picture("7"))))
    assert not can_connect(server.port, "127.0.0.1", "http://a.example")  # at which Streamlit would ask who it is
    assert record(folder, "socket.bind")  # the audit sees sockets
    calls = record(folder, *(f"socket.{name}" for name in ("connect", "getaddrinfo", "sendto", "gethostbyname")))
    assert [line for line in calls if "'127.0.0.1'" not in line] == []
    package = web_server.PAGE.parents[2]
    assert not [*package.rglob("secrets.toml"), *package.parents[1].glob(".streamlit/*")]


def test_visitors_do_not_see_each_other(server):
    async def two() -> None:
        async with Visitor(server.port) as one, Visitor(server.port) as other:
            await one.choose(NETWORKS, "good.pth")
            await one.upload(("seven.png", picture("7")))
            assert one.said.startswith("Read as the digit 7")
            await other.run()
            assert other.said == "" and other.session != one.session
            assert other.widget(NETWORKS).options[other.widget(NETWORKS).default] == model_list.SHIPPED
            await other.show(*one.files)  # even with the name of another visitor's file
            assert other.said == ""
            await asyncio.gather(one.choose(SOURCES, "Draw"), other.choose(SOURCES, "Draw"))
            await one.draw(picture("4"))
            await other.run()
            assert one.said.startswith("Read as the digit 4") and other.said == "Nothing is drawn yet."

    asyncio.run(two())


def test_a_visitor_who_left_is_forgotten(server):
    urls = []

    async def show(visitor):
        await visitor.upload(("seven.png", picture("7")))
        urls.extend(one.url for kind, element in visitor.elements if kind == "imgs" for one in element.imgs)

    visit(server, show)
    for _ in range(50):  # at the latest when others have left
        visit(server, lambda visitor: visitor.run())
        if (statuses := {request(server.port, "GET", url).status for url in urls}) == {404}:
            break
    assert statuses == {404}


def test_anything_sent_in_the_place_of_a_drawing_is_harmless(server):
    stroke = {"objects": [{}]}
    nothing = [
        "[]", "5", {}, {"drawing": 5}, {"drawing": [1]}, {"drawing": {"raw": [1], "data": "x"}},
        {"drawing": {"raw": stroke, "data": "no address"}}, {"drawing": {"raw": stroke, "data": 5}},
        {"drawing": {"raw": stroke, "data": "data:image/png;base64,A"}}, {"drawing": {"raw": stroke, "data": None}},
        {"drawing": {"raw": stroke, "data": "http://127.0.0.1:9/a.png"}}, {"backgroundFit": {"naturalWidth": 1}},
    ]  # fmt: skip
    refused = {b"no picture": "is not a picture", claiming(40_000, 40_000): "more than 120 million pixels"}

    async def send(visitor):
        await visitor.choose(SOURCES, "Draw")
        for value in nothing:
            await visitor.send_drawing(value)
            assert visitor.boxes == ["Nothing is drawn yet."], value
        for content, reason in refused.items():
            await visitor.draw(content)
            (box,) = visitor.boxes
            assert reason in box
        await visitor.draw(picture("7"))
        assert visitor.said.startswith("Read as the digit 7")

    visit(server, send)
