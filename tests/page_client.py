"""The page's server as a process, and visitors without a browser, who speak Streamlit's protocol.

apps/test_page_browser.py compares a visitor with what a real browser sends and shows.
"""

import asyncio
import base64
import html
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import FileURLs, UploadedFileInfo
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import connect

BOXES = ("alert", "exception")  # as the protocol calls them
PATIENCE = 60  # seconds; the first visit imports torch, perhaps beside a busy process


class Server(NamedTuple):
    """A running server. home: holds its current folder, its folders for temporary files and settings, and its log."""

    port: int
    process: int
    home: Path

    def memory(self) -> float:
        """Its resident memory in megabytes."""
        return int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{self.process}/status").read_text())[1]) / 1024


@contextmanager
def served(home: Path, models: Path, **environment: str) -> Iterator[Server]:
    """Run `python -m digit_recognizer serve` until the block ends; it must stop at Ctrl-C and log no error.

    home: a folder that is made for it; environment: variables that it gets in addition to this process's.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for folder in ("current", "temporary", "settings"):
        (home / folder).mkdir(parents=True)
    folders = {"TMPDIR": str(home / "temporary"), "HOME": str(home / "settings"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "digit_recognizer", "serve", "--port", str(port), "--models", str(models)]
    with (home / "log").open("w") as log:
        settings = {"stdout": log, "stderr": log, "cwd": home / "current", "env": os.environ | folders | environment}
        server = subprocess.Popen(command, **settings)
    try:
        _wait_for(server, port)
        yield Server(port, server.pid, home)
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.wait()
    said = (home / "log").read_text()
    assert "Traceback" not in said and "Error" not in said, said


def _wait_for(server: subprocess.Popen, port: int) -> None:
    until = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < until:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")


def request(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
    """Send one request and return the response, its body in `content`. Headers are written with _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        response.content = response.read()
        return response
    finally:
        connection.close()


def form(name: str, content: bytes) -> tuple[bytes, str]:
    """Return a file as the body of a form, as browsers send it, and the body's content type."""
    boundary = uuid.uuid4().hex
    name = name.replace('"', "%22").replace("\n", "%0A").replace("\r", "%0D")
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class Visitor:
    """One session of the page, used by `async with`.

    elements: what the page shows, in order, with the protocol's name of their kind. session: its identifier.
    states: of the widgets that it shows, as far as the visitor has used them. requests: how many were sent, over HTTP
    and over the session's socket. files: the uploaded ones: where they went, their names, their sizes in bytes.
    """

    def __init__(self, port: int) -> None:
        self.port, self.requests = port, 0
        self.elements: list[tuple[str, Any]] = []
        self.session = ""
        self.states: dict[str, WidgetState] = {}
        self.files: list[tuple[FileURLs, str, int]] = []

    async def __aenter__(self) -> "Visitor":
        answer = await self._request("GET", "/_stcore/health")
        self.token = re.search(r"_streamlit_xsrf=([^;]+)", answer.getheader("Set-Cookie"))[1]
        self._socket = await connect(
            f"ws://127.0.0.1:{self.port}/_stcore/stream", origin=f"http://127.0.0.1:{self.port}", max_size=None,
            subprotocols=["streamlit", self.token], additional_headers={"Cookie": f"_streamlit_xsrf={self.token}"},
            open_timeout=PATIENCE, proxy=None,
        )  # fmt: skip
        await self.run()
        return self

    async def __aexit__(self, *_) -> None:
        await self._socket.close()

    async def _request(self, method: str, path: str, body: bytes | None = None, **headers: str):
        self.requests += 1
        return await asyncio.to_thread(request, self.port, method, path, body, **headers)

    async def _send(self, message: BackMsg) -> None:
        self.requests += 1
        await self._socket.send(message.SerializeToString())

    async def _receive(self) -> ForwardMsg:
        return ForwardMsg.FromString(await asyncio.wait_for(self._socket.recv(), PATIENCE))

    # actions

    async def run(self, *states: WidgetState) -> None:
        """Send all widgets' states, these among them, and receive what the page shows; triggers are sent once."""
        self.states |= {state.id: state for state in states}
        message = BackMsg()
        message.rerun_script.widget_states.widgets.extend(self.states.values())
        await self._send(message)
        self.states = {name: state for name, state in self.states.items() if not state.HasField("trigger_value")}
        shown: dict[tuple[int, ...], Any] = {}
        while True:
            message = await self._receive()
            if message.HasField("new_session"):
                self.session, shown = message.new_session.initialize.session_id, {}
            elif message.HasField("delta") and message.delta.HasField("new_element"):
                shown[tuple(message.metadata.delta_path)] = message.delta.new_element
            elif message.WhichOneof("type") == "script_finished":
                assert message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
                break
        kinds = [(element.WhichOneof("type"), element) for _, element in sorted(shown.items(), key=lambda one: one[0])]
        self.elements = [(kind, getattr(element, kind)) for kind, element in kinds]
        shown_ids = {getattr(element, "id", None) for _, element in self.elements}
        self.states = {name: state for name, state in self.states.items() if name in shown_ids}  # as a browser does

    async def choose(self, label: str, value: str) -> None:
        """Choose in the radio buttons or the list of that label; any string may be sent."""
        await self.run(WidgetState(id=self.widget(label).id, string_value=value))

    async def press(self, label: str) -> None:
        """Press a button."""
        await self.run(WidgetState(id=self.widget(label).id, trigger_value=True))

    async def upload(self, *files: tuple[str, bytes]) -> None:
        """Add files, names and contents, to the uploaded ones."""
        message = BackMsg()
        message.file_urls_request.request_id = uuid.uuid4().hex
        message.file_urls_request.file_names.extend(name for name, _ in files)
        await self._send(message)
        while not (answer := await self._receive()).HasField("file_urls_response"):
            pass
        for (name, content), urls in zip(files, answer.file_urls_response.file_urls, strict=True):
            body, kind = form(name, content)
            put = await self._request("PUT", urls.upload_url, body, Content_Type=kind, **self.credentials)
            assert put.status == 204, put.content
            self.files.append((urls, name, len(content)))
        await self.show(*self.files)

    async def remove_files(self) -> None:
        """Remove all uploaded files."""
        for urls, _, _ in self.files:
            assert (await self._request("DELETE", urls.delete_url, **self.credentials)).status == 204
        self.files = []
        await self.show()

    async def show(self, *files: tuple[FileURLs, str, int]) -> None:
        """Tell the page that these are the uploaded files."""
        state = WidgetState(id=next(one.id for kind, one in self.elements if kind == "file_uploader"))
        state.file_uploader_state_value.SetInParent()
        for urls, name, size in files:
            info = UploadedFileInfo(file_id=urls.file_id, name=name, size=size, file_urls=urls)
            state.file_uploader_state_value.uploaded_file_info.append(info)
        await self.run(state)

    async def draw(self, png: bytes) -> None:
        """Draw a picture, as the canvas would send it."""
        url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        stroke = {"type": "Path", "path": [["M", 1, 1], ["L", 2, 2]]}
        await self.send_drawing({"drawing": {"raw": {"objects": [stroke]}, "data": url}})

    async def send_drawing(self, value: Any) -> None:
        """Send anything in the place of a drawing."""
        (canvas,) = (one for kind, one in self.elements if kind == "bidi_component")
        await self.run(WidgetState(id=canvas.id, json_value=value if isinstance(value, str) else json.dumps(value)))

    # what the visitor has and sees

    @property
    def credentials(self) -> dict[str, str]:
        """The headers that let a request change something."""
        return {"Cookie": f"_streamlit_xsrf={self.token}", "X_Xsrftoken": self.token}

    def widget(self, label: str) -> Any:
        """The widget of that label."""
        return next(element for _, element in self.elements if getattr(element, "label", None) == label)

    @property
    def said(self) -> str:
        """The text of the large answer; without one, that of the boxes."""
        answers = [one.body for kind, one in self.elements if kind == "html" and 'class="answer"' in one.body]
        text = " ".join(answers) or " ".join(self.boxes)
        return html.unescape(" ".join(re.sub("<[^>]+>", " ", text).split()))

    @property
    def boxes(self) -> list[str]:
        """The texts of the coloured boxes, exceptions among them, without Markdown's backslashes."""
        bodies = [one.body if kind == "alert" else one.message for kind, one in self.elements if kind in BOXES]
        return [re.sub(r"\\(.)", r"\1", body) for body in bodies]

    async def pictures(self) -> list[bytes]:
        """The image files that the page shows, fetched as a browser does."""
        urls = [picture.url for kind, element in self.elements if kind == "imgs" for picture in element.imgs]
        answers = [await self._request("GET", url) for url in urls]
        assert [answer.status for answer in answers] == [200] * len(urls)
        return [answer.content for answer in answers]


def picture(text: str, size: tuple[int, int] = (480, 320), form: str = "PNG") -> bytes:
    """Return an image file with a printed number, dark on light."""
    image = Image.new("L", size, 240)
    height = 0.7 * size[1] if len(text) == 1 else 1.2 * size[0] / max(1, len(text))
    text, font = "  ".join(text) if len(text) > 1 else text, ImageFont.load_default(min(height, 0.7 * size[1]))
    ImageDraw.Draw(image).text((size[0] / 2, size[1] / 2), text, 20, font, anchor="mm")
    return encoded(image, form)


def encoded(image: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def claiming(width: int, height: int) -> bytes:
    """Return a small PNG file whose header claims so many pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0), b"IDAT" + zlib.compress(bytes(9)))
    parts = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
