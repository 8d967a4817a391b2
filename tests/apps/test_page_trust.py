"""The page lets nothing in and keeps nothing: its true server, asked what no browser would ask."""

import asyncio
import csv
import http.client
import io
import os
import socket
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from page_client import Visitor, claiming, encoded, form, picture, request, served
from PIL import Image
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from digit_recognizer import checkpoints
from digit_recognizer.apps.web import model_list
from digit_recognizer.apps.web import server as server_module

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into the server by /proc")
NETWORKS, SOURCES = "Which network reads?", "Where does the picture come from?"
# Python's own audit of what a program opens, asks for and reaches, from its first line on.
RECORDER = """
import os, sys
record = os.open(os.environ["DIGITS_TEST_RECORD"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def note(event, arguments):
    if event in ("open", "os.mkdir", "os.rename", "subprocess.Popen") or event.startswith("socket."):
        os.write(record, (event + " " + ascii(arguments) + "\\n").encode())
sys.addaudithook(note)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, trained, small_recipe) -> Path:
    """A folder of models with two that may be read, among much that may not; `elsewhere` lies beside it."""
    top = tmp_path_factory.mktemp("page")
    models = top / "models"
    (models / "folder.pth").mkdir(parents=True)
    (top / "elsewhere").mkdir()
    never_sure = {"calibration": {"min_confidence": 1.1}}
    checkpoints.save(top / "elsewhere" / "forbidden.pth", trained[0], small_recipe, never_sure)
    checkpoints.save(models / ".hidden.pth", trained[0], small_recipe, never_sure)
    checkpoints.save(models / "good.pth", trained[0], small_recipe, {})
    (models / "damaged.pth").write_bytes(b"no model")
    (models / "inside.pth").symlink_to("good.pth")
    (models / "outside.pth").symlink_to("../elsewhere/forbidden.pth")
    (models / "absent.pth").symlink_to("nowhere.pth")
    (models / "circle.pth").symlink_to("circle.pth")
    (models / "two\nlines.pth").write_bytes(b"")
    (models / "turned\u202eround.pth").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(models) + b"/no\xfftext.pth")).write_bytes(b"")
    os.mkfifo(models / "pipe.pth")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(models / "socket.pth"))
    return top


@pytest.fixture(scope="module")
def server(folder):
    """The page's server, watched by Python's audit."""
    (folder / "sitecustomize.py").write_text(RECORDER)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    home = folder / "server"
    with served(home, folder / "models", PYTHONPATH=path, DIGITS_TEST_RECORD=str(folder / "record")) as running:
        yield running
    left = [path for path in home.rglob("*") if path.is_file() and path.name != "log"]
    assert left == []  # in the current folder, in the folder for temporary files, among the user's settings


def record(folder: Path, event: str) -> list[tuple]:
    """What the server has done of a kind so far, each with its arguments."""
    lines = (line.split(" ", 1) for line in (folder / "record").read_text().splitlines())
    return [arguments for name, arguments in lines if name == event]


def visit(server, doings) -> None:
    """Let one visitor do something."""

    async def one() -> None:
        async with Visitor(server.port) as visitor:
            await doings(visitor)

    asyncio.run(one())


def test_only_models_of_the_folder_are_offered(server):
    async def look(visitor):
        assert list(visitor.widget(NETWORKS).options) == [
            model_list.SHIPPED, "damaged.pth", "good.pth", "inside.pth",
        ]  # fmt: skip

    visit(server, look)


def test_no_name_that_a_visitor_sends_opens_another_file(server, folder):
    names = [
        "outside.pth", "../elsewhere/forbidden.pth", str(folder / "elsewhere" / "forbidden.pth"), "folder.pth",
        "pipe.pth", "socket.pth", "circle.pth", "absent.pth", ".hidden.pth", "models/../../elsewhere/forbidden.pth",
        "", ".", "..\\elsewhere\\forbidden.pth", "good.pth/", "good.pth\0", "x" * 100_000, "/etc/passwd",
        "file:///etc/passwd", "two\nlines.pth",
    ]  # fmt: skip

    async def send(visitor):
        await visitor.upload(("seven.png", picture("7")))
        for name in names:
            await visitor.choose(NETWORKS, name)
            assert visitor.said.startswith("Read as the digit 7"), name  # by the network of the package
        await visitor.choose(NETWORKS, "inside.pth")
        assert visitor.said.startswith("Read as the digit")
        await visitor.choose(NETWORKS, "damaged.pth")
        (box,) = visitor.boxes
        assert box.startswith("damaged.pth is not a model file")  # and not where it lies

    visit(server, send)
    opened = "\n".join(record(folder, "open"))
    assert "models/good.pth" in opened and "models/damaged.pth" in opened  # the audit sees what is opened
    for name in ("forbidden", "models/outside", ".hidden", "pipe.pth", "socket.pth", "folder.pth", "/etc/passwd"):
        assert name not in opened


def test_a_model_that_changes_while_it_is_read_is_read_whole_or_refused(server, folder):
    path, whole, over = folder / "models" / "written.pth", (folder / "models" / "good.pth").read_bytes(), []

    def write_again_and_again() -> None:
        while not over:
            for part in (whole[:1000], whole[: len(whole) // 2], whole):
                path.write_bytes(part)

    async def read(visitor):
        await visitor.upload(("seven.png", picture("7")))
        for _ in range(10):
            await visitor.choose(NETWORKS, path.name)
            assert visitor.said.startswith(("Read as the digit", f"{path.name} is not a model file"))
        over.append(True)
        writer.join()
        await visitor.run()
        assert visitor.said.startswith("Read as the digit")

    writer = threading.Thread(target=write_again_and_again)
    writer.start()
    try:
        visit(server, read)
    finally:
        over.append(True)
        writer.join()
        path.unlink()


def test_an_upload_needs_the_visitors_own_cookie_and_header(server):
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

    visit(server, try_all)


def test_a_file_over_the_limit_is_refused_however_it_comes(server):
    async def try_both(visitor):
        path = f"/_stcore/upload_file/{visitor.session}/11111111-1111-1111-1111-111111111111"
        body, kind = form("large.png", bytes((server_module.MAX_FILE_MB + 2) * 2**20))
        assert request(server.port, "PUT", path, body, Content_Type=kind, **visitor.credentials).status == 413
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in visitor.credentials.items()}
        parts = (body[start : start + 2**20] for start in range(0, len(body), 2**20))  # of no length that is said
        connection.request("PUT", path, parts, headers | {"Content-Type": kind}, encode_chunked=True)
        assert connection.getresponse().status == 413
        connection.close()

    visit(server, try_both)


@pytest.mark.parametrize(
    ("host", "origin", "let_in"),
    [
        ("127.0.0.1", "http://127.0.0.1", True),
        ("localhost", "http://localhost", True),
        ("127.0.0.1", "http://a.example", False),
        ("127.0.0.1", "null", False),
        ("a.example", "http://a.example", False),  # whose name was made to lead to 127.0.0.1
    ],
)
def test_pages_of_other_places_are_not_let_in(server, host, origin, let_in):
    origin = origin if origin == "null" else f"{origin}:{server.port}"
    assert knock(server.port, host, origin) is let_in
    allowed = request(server.port, "GET", "/_stcore/health", Origin=origin).getheader("Access-Control-Allow-Origin")
    assert allowed is None


def knock(port: int, host: str, origin: str) -> bool:
    """Whether a session is opened for a page of that origin that calls the server by that name."""

    async def open_one() -> bool:
        address = f"ws://{host}:{port}/_stcore/stream"
        try:
            async with connect(address, origin=origin, host="127.0.0.1", port=port, proxy=None):
                return True
        except InvalidStatus as refusal:
            assert refusal.response.status_code == 403
            return False

    return asyncio.run(open_one())


def test_the_server_is_seen_from_this_machine_only_and_hands_out_no_files(server):
    with pytest.raises(ConnectionRefusedError):  # who listens everywhere answers here, too
        socket.create_connection(("127.0.0.2", server.port), timeout=5)
    page = request(server.port, "GET", "/").content
    for path in ("/app/static/web_page.py", "/app/static/../web_page.py", "/media/../../web_page.py", "/secrets.toml"):
        answer = request(server.port, "GET", path)
        assert answer.status in (400, 404) or answer.content == page, path
    assert request(server.port, "POST", "/_stcore/agent/interact", b"{}", Content_Type="application/json").status >= 400


def test_what_is_uploaded_stays_in_memory(server, folder):
    marked = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (1100, 1100, 3), np.uint8)))
    assert len(marked) > 3 * 2**20

    async def upload(visitor):
        await visitor.upload(("noise.png", marked), ("seven.png", picture("7")))
        open_now = {str(link.readlink()) for link in Path(f"/proc/{server.process}/fd").iterdir()}
        for part in ("current", "temporary", "settings"):
            assert [path for path in (server.home / part).rglob("*") if path.is_file()] == []
            assert not [name for name in open_now if name.startswith(str(server.home / part))]

    visit(server, upload)
    written = [line for line in record(folder, "open") if opens_for_writing(line)]
    temporary = str(server.home / "temporary")
    assert [line for line in written if temporary not in line and "/dev/null" not in line] == []
    # Streamlit's server lets what is larger than a megabyte pass through a file without a name, gone once it is read;
    # before the first one Python tries the folder out with a file of its own.
    assert len([line for line in written if f"{temporary}/" in line]) <= 1


def opens_for_writing(line: str) -> bool:
    """Whether the arguments of an audited `open` (path, mode, flags) ask for more than reading."""
    return bool(int(line.rstrip(")").rsplit(",", 1)[1]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def test_nothing_is_fetched_and_nothing_told(server, folder):
    visit(server, lambda visitor: visitor.upload(("seven.png", picture("7"))))
    assert not knock(server.port, "127.0.0.1", "http://a.example")  # makes Streamlit by itself ask who it is
    assert record(folder, "socket.bind")  # the audit sees sockets
    reached = [*record(folder, "socket.connect"), *record(folder, "socket.getaddrinfo")]
    reached += [*record(folder, "socket.sendto"), *record(folder, "socket.gethostbyname")]
    assert [line for line in reached if "'127.0.0.1'" not in line] == []
    package = Path(server_module.__file__).parents[1]
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
            await other.show(*one.files)  # whoever knew the name of another's file
            assert other.said == ""
            await asyncio.gather(one.choose(SOURCES, "Draw"), other.choose(SOURCES, "Draw"))
            await one.draw(picture("4"))
            await other.run()
            assert one.said.startswith("Read as the digit 4") and other.said == "Nothing is drawn yet."
            await one.choose(SOURCES, "Upload a file")

    asyncio.run(two())


def test_who_has_left_is_forgotten(server):
    urls = []

    async def show(visitor):
        await visitor.upload(("seven.png", picture("7")))
        urls.extend(one.url for kind, element in visitor.elements if kind == "imgs" for one in element.imgs)

    async def look(visitor):
        pass

    visit(server, show)
    for _ in range(5):  # at the latest when the next have left
        visit(server, look)
    assert urls and {request(server.port, "GET", url).status for url in urls} == {404}


def test_what_is_sent_in_the_place_of_a_drawing_is_harmless(server):
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


def test_names_of_files_are_never_paths_and_never_formulas(server):
    names = [
        "../../../etc/passwd", "/etc/passwd", "<img src=x onerror=alert(1)>.png", "[x](javascript:alert(1)).png",
        "exe\u202egnp.png", "=1+1.png", "a;=1+1.png", 'a,"@b.png', "＝1.png", "con.png", "", ".", "x" * 2000,
    ]  # fmt: skip

    async def upload(visitor):
        await visitor.upload(*((name, b"no picture") for name in names))
        address = visitor.widget("Download the table (CSV)").url
        table = request(server.port, "GET", address).content.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(table)))
        assert len(rows) == len(names) and "\u202e" not in table and "\0" not in table
        assert not [row for row in rows if any(cell[:1] in tuple("=+-@＝\t\r\n") and cell for cell in row.values())]
        assert rows[6]["file"] == "a;'=1+1.png" and rows[2]["file"] == names[2]
        await visitor.remove_files()
        for name in names[:6]:
            await visitor.upload((name, b"no picture"))
            (box,) = visitor.boxes
            assert "is not a picture" in box and "\u202e" not in box and "No such file" not in box
            await visitor.remove_files()

    visit(server, upload)
