"""The server of the page: reachable from this machine only, for many visitors at once."""

import contextlib
import ctypes
import os
import socket
from pathlib import Path

from digit_recognizer.apps.web import model_list
from digit_recognizer.runtime import packages
from digit_recognizer.runtime.errors import UserError

DEFAULT_PORT = 8501
MAX_FILE_MB = 20  # of an uploaded picture
PAGE = Path(__file__).with_name("page.py")  # not imported: Streamlit takes seconds, errors come before
OPTIONS = {  # Streamlit's defaults among them: the user's settings file may say otherwise
    "server.address": "127.0.0.1",
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "server.enableStaticServing": "false",
    "server.headless": "true",  # also keeps visitors from having Streamlit write files
    "server.showEmailPrompt": "false",
    "server.maxUploadSize": str(MAX_FILE_MB),
    "server.fileWatcherType": "none",
    "server.disconnectedSessionTTL": "0",  # seconds; a visitor who left is forgotten at once
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "logger.level": "warning",
}
ALLOWED_HOSTS = ("127.0.0.1", "localhost")  # against DNS rebinding: another site's name may lead to this machine
M_ARENA_MAX, ARENAS = -8, 2  # glibc's mallopt parameter, and the number of heaps that all threads share


def run(port: int | None = None, models: str | None = None) -> None:
    """Serve the page on this machine until Ctrl-C. port: 8501 if None; models: their folder, the current one if None.

    Raises UserError where the port is taken, the folder is absent, or Streamlit is not installed.
    """
    folder = Path(models or ".")
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; give --models the folder with your models")
    packages.require(*packages.EXTRAS["apps"])
    port = DEFAULT_PORT if port is None else port
    _check_port(port)
    os.environ[model_list.FOLDER_VARIABLE] = str(folder.resolve())
    _limit_arenas()
    from streamlit import net_util
    from streamlit.web import cli

    # At a request from another origin Streamlit asks the internet for this machine's address, and allows that, too.
    net_util.get_external_ip = net_util.get_internal_ip = lambda: None
    flags = [f"--{name}={value}" for name, value in OPTIONS.items()]
    flags += [f"--server.allowedHosts={host}" for host in ALLOWED_HOSTS]
    cli.main(["run", str(PAGE), f"--server.port={port}", *flags], standalone_mode=False)


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise UserError(f"a port is a number from 1 to 65535, not {port}")
    try:
        socket.create_server((OPTIONS["server.address"], port)).close()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"port {port} is not available ({reason}); choose another with --port, such as {port + 1}"
        ) from error


def _limit_arenas() -> None:
    """Let all threads share a few heaps: by default glibc gives each its own, and keeps what is freed there."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # a C library other than glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
