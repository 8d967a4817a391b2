"""A page in the browser: show it a picture, photograph a digit or draw one, and see what it was read as, and why.

The server of `page_server` calls this file for each visit and each click: that is what the last lines are for.
"""

import os
from pathlib import Path
from typing import Any

from digit_recognizer.runtime.errors import UserError

LARGEST = 20  # megabytes that a picture may have
MODELS = "DIGITS_MODELS_DIR"  # variable of the environment that hands the folder to the page
FIRST = "mnist_model.pth"  # chosen at first, if it is there
WIDTH, HEIGHT, PEN = 320, 240, 18  # of the canvas and its pen, in pixels; fits a telephone's width
STYLE = """<style>
.stMainBlockContainer { padding-top: 3rem }
/* Sentences under elements are to be read, too; Streamlit's grey is fainter than readers with weak eyes need. */
[data-testid=stCaptionContainer], [data-testid=stImageCaption] { color: inherit; opacity: 0.8 }
[data-testid=stImageCaption] * { color: inherit; opacity: 1 }
/* White paper on a white page needs an edge. */
.st-key-steps img { border: 1px solid rgba(128, 128, 128, 0.5) }
/* Streamlit says only to screen readers why a file is too large. */
[data-testid=stFileChip]:has([role=alert]) { flex-wrap: wrap; max-width: none; height: auto }
[data-testid=stFileChip] [role=alert] {
  position: static; width: auto; height: auto; clip: auto; clip-path: none; white-space: normal; font-size: 0.875rem }
</style>"""


def page() -> None:
    """The whole page, from top to bottom, as Streamlit runs it."""
    import streamlit as st

    st.set_page_config("Digit Recognizer", layout="centered")
    st.html(STYLE)
    st.title("Digit Recognizer")
    st.write("Show it a handwritten digit, and it says which one it is, how sure it is, and what it looked at.")
    sources = {"Upload a file": _uploaded, "Use the camera": _photographed, "Draw": _drawn}
    chosen = st.radio("Where does the picture come from?", list(sources), horizontal=True)
    st.caption("Take a picture that you have, photograph one, or draw with mouse or finger.")
    pictures = sources[chosen]()
    with st.expander("Options: another network, whole numbers"):
        whole = st.toggle("Read a whole number")
        st.caption("On: several digits in a row or on a page; off: one digit, unless several are clearly there.")
        path = _chosen_network()
    recognizer = _loaded(path)
    if recognizer is not None and pictures:
        _read(recognizer, pictures, whole)


def _read(recognizer: Any, pictures: list, whole: bool) -> None:
    import streamlit as st

    from digit_recognizer.apps.web import page_answer, reading

    if len(pictures) > 1:
        page_answer.show_many(recognizer, pictures, whole)
        return
    try:
        answer = reading.read(recognizer, pictures[0], whole)
    except UserError as error:
        st.error(page_answer.plain(f"{error}."))
        return
    page_answer.show(answer)


def _chosen_network() -> Path | None:
    """The file that was chosen; None for the network that comes with the package."""
    import streamlit as st

    from digit_recognizer.apps.web import model_list

    networks = model_list.offered(Path(os.environ.get(MODELS, ".")))
    names = list(networks)
    name = st.selectbox("Which network reads?", names, names.index(FIRST) if FIRST in networks else 0)
    st.caption("A network is what was learned from thousands of digits; yours stand here once you have trained any.")
    return networks.get(name)  # whatever a visitor's browser sends, it is a name of the list or nothing


def _loaded(path: Path | None) -> Any:
    """The recognizer of a file, or None after a line that says why it cannot be had."""
    import streamlit as st

    from digit_recognizer.apps.web import model_list, page_answer

    try:
        return _load()(path, model_list.identity(path))
    except (UserError, OSError) as error:
        reason = str(error).replace(f"{path.parent}{os.sep}", "") if path else str(error)  # not for visitors to know
        st.error(page_answer.plain(f"{reason}. Choose another network under Options: one that this project saved."))
        return None


def _load() -> Any:
    """Recognizer.load, which reads a file again only after it has changed. All visitors share what it returns."""
    import streamlit as st
    import torch

    from digit_recognizer.apps.web.model_list import Identity
    from digit_recognizer.recognition.recognizer import Recognizer

    @st.cache_resource(max_entries=4, show_spinner="Loading the network ...")
    def load(path: Path | None, identity: Identity | None) -> Recognizer:
        torch.set_num_threads(1)  # of each visitor's thread: many visitors, not many threads each, share the cores
        return Recognizer.load(path)

    return load


def _uploaded() -> list:
    import streamlit as st

    files = st.file_uploader("One picture, or many at once", accept_multiple_files=True)
    st.caption(f"PNG, JPEG, GIF, BMP, TIFF or WebP, at most {LARGEST} MB each; of several files you get a table.")
    return files


def _photographed() -> list:
    import streamlit as st

    picture = st.camera_input("Photograph a digit")
    st.caption("Hold the paper level in good light, so that the digit fills most of the picture.")
    return [picture] if picture else []


def _drawn() -> list:
    import streamlit as st

    st.write("Draw a digit here")
    sheet = st.session_state.setdefault("sheet", 0)
    drawing = _canvas(f"canvas {sheet}")
    st.button("Clear", on_click=lambda: st.session_state.update(sheet=sheet + 1))
    st.caption("Draw large; Clear gives a new sheet. Without mouse, pen or finger, upload a picture instead.")
    if drawing is None:
        st.info("Nothing is drawn yet.")
        return []
    return [drawing]


def _canvas(key: str) -> bytes | None:
    """What is drawn, as a PNG file; None for nothing, or for what a program sends in the place of a drawing."""
    from streamlit_drawable_canvas import st_canvas

    try:
        canvas = st_canvas(
            stroke_width=PEN, stroke_color="black", background_color="white", width=WIDTH, height=HEIGHT,
            return_image_data=True, key=key,
        )  # fmt: skip
        # Not its image_data, which would be decoded before anybody has asked how many pixels there are.
        return canvas.image_bytes if (canvas.json_data or {}).get("objects") else None
    except Exception:
        return None


if __name__ == "__main__":
    page()
