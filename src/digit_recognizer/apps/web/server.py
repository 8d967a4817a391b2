"""The server of the page: seen from this machine only, with settings that keep it so, for many visitors at once."""

import contextlib
import ctypes
import importlib.util
import os
import socket
from pathlib import Path

from digit_recognizer.apps.web import page
from digit_recognizer.runtime.errors import UserError

PORT = 8501
FLAGS = {  # said here even where they are Streamlit's own defaults: a file of the user's settings may say otherwise
    "server.address": "127.0.0.1",  # seen from this machine only
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "server.enableStaticServing": "false",
    "server.headless": "true",  # also keeps visitors from having Streamlit write files
    "server.showEmailPrompt": "false",
    "server.maxUploadSize": str(page.LARGEST),
    "server.fileWatcherType": "none",
    "server.disconnectedSessionTTL": "0",  # seconds; who has left is forgotten: within a machine no line breaks
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "logger.level": "warning",
}
ARENAS, FEW = -8, 2  # glibc's M_ARENA_MAX, and how many heaps all threads share
HOSTS = ("127.0.0.1", "localhost")  # names of this machine; a stranger's page whose name leads here is not let in


def run(port: int | None = None, models: str | None = None) -> None:
    """Serve the page on this machine until Ctrl-C. port: 8501 if None; models: their folder, the current one if None.

    Raises UserError where the port is taken, the folder is none, or Streamlit is not installed.
    """
    folder = Path(models or ".")
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give --models the folder with your models")
    if not all(importlib.util.find_spec(name) for name in ("streamlit", "streamlit_drawable_canvas")):
        raise UserError("the page needs streamlit and streamlit-drawable-canvas; pip install -r requirements.txt")
    port = PORT if port is None else port
    _check_port(port)
    os.environ[page.MODELS] = str(folder.resolve())
    _share_memory()
    from streamlit import net_util
    from streamlit.web import cli

    # Else Streamlit asks the world for this machine's address whenever a stranger's page knocks, and lets that in, too.
    net_util.get_external_ip = net_util.get_internal_ip = lambda: None
    flags = [f"--{name}={value}" for name, value in FLAGS.items()]
    flags += [f"--server.allowedHosts={host}" for host in HOSTS]
    cli.main(["run", page.__file__, f"--server.port={port}", *flags], standalone_mode=False)


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise UserError(f"a port is a number from 1 to 65535, not {port}")
    try:
        socket.create_server((FLAGS["server.address"], port)).close()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"port {port} cannot be had ({reason}); choose another with --port, such as {port + 1}"
        ) from error


def _share_memory() -> None:
    """Let all threads share a few heaps: glibc gives each of many its own, and what is freed there stays with it."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another system's C library, which knows no arenas
        ctypes.CDLL(None).mallopt(ARENAS, FEW)
