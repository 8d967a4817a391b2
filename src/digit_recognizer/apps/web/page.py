"""The page in the browser: upload, photograph or draw a digit, and see what it was read as, and why.

Streamlit runs this file by its path, as __main__, at every visit and every click. Nothing imports it to show the page.
"""

import html
import itertools
import os
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw, ImageFont, ImageOps

from digit_recognizer.apps.web import model_list
from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.text import one_line, percent

if TYPE_CHECKING:  # these take a while: the functions below import them once the widgets are shown
    from digit_recognizer.apps.web.reading import Answer
    from digit_recognizer.recognition.marks import Mark, Row
    from digit_recognizer.recognition.prediction import Number, Prediction
    from digit_recognizer.recognition.recognizer import Recognizer

DEFAULT_MODEL = "mnist_model.pth"  # selected at first, where the folder has it
CANVAS_WIDTH, CANVAS_HEIGHT, PEN_WIDTH = 320, 240, 18  # pixels; fits the width of a telephone
CONFIDENCE_WORDS = ((0.99, "almost certain"), (0.9, "fairly sure"), (0.6, "not sure"), (0, "little more than a guess"))
ADVICE = "Write one digit large and dark on plain light paper, let it fill most of the picture, and try again."
BLANK = "There is nothing to read: no handwriting stands out in this picture."
UNLIKE_A_DIGIT = "This does not look like a handwritten digit, so no answer is given."
BLUE = "#0072B2"  # of the bars
IGNORED_GREY = 190  # grey level of foreground that does not belong to the digit
IMAGE_SIDE, THUMBNAIL_SIDE = 320, 96  # pixels; images are shown at half their size, sharp on a telephone's screen
PAGE_SIDE, MIN_FONT_SIZE = 1280, 22  # pixels of a page with boxes; it is shown at about half its size
STYLE = """<style>
.stMainBlockContainer { padding-top: 3rem }
/* Streamlit's grey captions have too little contrast. */
[data-testid=stCaptionContainer], [data-testid=stImageCaption] { color: inherit; opacity: 0.8 }
[data-testid=stImageCaption] * { color: inherit; opacity: 1 }
/* White paper on a white page needs an edge. */
.st-key-steps img { border: 1px solid rgba(128, 128, 128, 0.5) }
/* Streamlit tells only screen readers why a file is too large. */
[data-testid=stFileChip]:has([role=alert]) { flex-wrap: wrap; max-width: none; height: auto }
[data-testid=stFileChip] [role=alert] {
  position: static; width: auto; height: auto; clip: auto; clip-path: none; white-space: normal; font-size: 0.875rem }
</style>"""


def main() -> None:
    """Show the whole page, from top to bottom."""
    st.set_page_config("Digit Recognizer", layout="centered")
    st.html(STYLE)
    st.title("Digit Recognizer")
    st.write(
        "Show it a handwritten digit or a page of them. It says what it reads, how sure it is, and what it looked at."
    )
    inputs = {"Upload a file": _upload, "Use the camera": _photograph, "Draw": _draw}
    chosen = st.radio("Where does the picture come from?", list(inputs), horizontal=True)
    st.caption("Take a picture that you have, photograph one, or draw with mouse or finger.")
    sources = inputs[chosen]()
    with st.expander("Options: another network, whole numbers"):
        as_number = st.toggle("Read a whole number")
        st.caption("On: several digits in a row or on a page; off: one digit, unless several are clearly there.")
        model_path = _select_model()
    recognizer = _get_recognizer(model_path)
    if recognizer is not None and len(sources) > 1:
        _show_table(recognizer, sources, as_number)
    elif recognizer is not None and sources:
        _show_one(recognizer, sources[0], as_number)


# input


def _upload() -> list[Any]:
    files = st.file_uploader("One picture, or many at once", accept_multiple_files=True)
    limit = st.get_option("server.maxUploadSize")
    st.caption(f"PNG, JPEG, GIF, BMP, TIFF or WebP, at most {limit} MB each; of several files you get a table.")
    return files


def _photograph() -> list[Any]:
    photograph = st.camera_input("Photograph a digit")
    st.caption("Hold the paper level in good light, so that the digit fills most of the picture.")
    return [photograph] if photograph else []


def _draw() -> list[Any]:
    st.write("Draw a digit here")
    sheet = st.session_state.setdefault("sheet", 0)
    drawing = _show_canvas(f"canvas {sheet}")
    st.button("Clear", on_click=lambda: st.session_state.update(sheet=sheet + 1))
    st.caption("Draw large; Clear gives a new sheet. Without mouse, pen or finger, upload a picture instead.")
    if drawing is None:
        st.info("Nothing is drawn yet.")
        return []
    return [drawing]


def _show_canvas(key: str) -> bytes | None:
    """Show the canvas and return the drawing as a PNG file; None if it is empty or a client sent something else."""
    from streamlit_drawable_canvas import st_canvas  # its import needs Streamlit's server

    try:
        canvas = st_canvas(
            stroke_width=PEN_WIDTH, stroke_color="black", background_color="white", width=CANVAS_WIDTH,
            height=CANVAS_HEIGHT, return_image_data=True, key=key,
        )  # fmt: skip
        # Not image_data: it would be decoded before the number of pixels is checked.
        return canvas.image_bytes if (canvas.json_data or {}).get("objects") else None
    except Exception:
        return None


# networks


def _select_model() -> Path | None:
    """Return the selected model file; None for the network of the package."""
    models = model_list.find_models(Path(os.environ.get(model_list.FOLDER_VARIABLE, ".")))
    names = list(models)
    name = st.selectbox("Which network reads?", names, names.index(DEFAULT_MODEL) if DEFAULT_MODEL in models else 0)
    st.caption("A network is what was learned from thousands of digits; yours stand here once you have trained any.")
    return models.get(name)  # only names of the list give a path, whatever a client sends


def _get_recognizer(path: Path | None) -> "Recognizer | None":
    """Return the recognizer of a model file; None after an error message."""
    try:
        return _load_recognizer(path, model_list.identity(path))
    except (UserError, OSError) as error:
        reason = str(error).replace(f"{path.parent}{os.sep}", "") if path else str(error)  # visitors get no paths
        st.error(escape_markdown(f"{reason}; choose another network under Options, one that this project saved."))
        return None


@st.cache_resource(max_entries=4, show_spinner="Loading the network ...")
def _load_recognizer(path: Path | None, identity: model_list.Identity | None) -> "Recognizer":
    """Load a recognizer, which all visitors share; again once the file's identity has changed."""
    from digit_recognizer.recognition.recognizer import Recognizer

    recognizer = Recognizer.load(path)
    if recognizer.uses_pytorch:
        import torch

        torch.set_num_threads(1)  # in each visitor's thread: many visitors share the cores
    return recognizer


# answers


def _show_one(recognizer: "Recognizer", source: Any, as_number: bool) -> None:
    from digit_recognizer.apps.web import reading

    try:
        answer = reading.read(recognizer, source, as_number)
    except UserError as error:
        st.error(escape_markdown(f"{error}."))
        return
    if answer.reason:
        st.warning(f"{BLANK if answer.reason == 'blank' else UNLIKE_A_DIGIT} {ADVICE}")
        _show_steps(answer)
    elif answer.number is not None:
        _show_number(answer, answer.number)
    else:
        _show_digit(answer.prediction)
        _show_steps(answer)
    unread = answer.number.unread if answer.number is not None else ()
    noticed = [warning for warning in answer.warnings if warning not in unread]
    if noticed:
        st.info("Noticed in the picture: " + "; ".join(noticed) + ".")


def _show_table(recognizer: "Recognizer", files: Sequence[Any], as_number: bool) -> None:
    """Show a table of many files, one row each, and offer it as CSV."""
    from digit_recognizer.apps.web import reading
    from digit_recognizer.recognition import table

    with st.spinner(f"Reading {len(files)} pictures ..."):
        rows = [reading.table_row(recognizer, file.name, file, as_number) for file in files]
    count = sum(bool(row.read) for row in rows)
    st.subheader(f"{count} of {len(rows)} pictures were read")
    st.dataframe(
        [row._asdict() for row in rows],
        hide_index=True,
        alt=f"Table of {len(rows)} files: what each was read as, and how sure",
    )
    st.caption("One row for each file; the warnings say what was noticed, or why nothing was read.")
    st.download_button("Download the table (CSV)", table.to_csv(rows), "digits.csv", "text/csv", on_click="ignore")
    st.caption("Saves the table as a file that every spreadsheet opens.")


def escape_markdown(text: str) -> str:
    """Return untrusted text, such as a file's name, on one line and with Markdown's characters escaped."""
    return re.sub(r"([\\`*_{}\[\]()#+!|$~:<>&-])", r"\\\1", one_line(text))


def describe_confidence(confidence: float) -> str:
    """Return a confidence, 0 to 1, in words."""
    return next(words for minimum, words in CONFIDENCE_WORDS if confidence >= minimum)


def _show_digit(prediction: "Prediction") -> None:
    sure = f"{percent(prediction.confidence)} sure: {describe_confidence(prediction.confidence)}"
    _show_heading(str(prediction.digit), "Read as the digit", sure, prediction.alternatives)
    if prediction.alternatives:
        st.caption(
            f"It looks like more than one digit: {prediction.digit} {prediction.doubt}. "
            "If the picture holds several digits, switch on 'Read a whole number' under Options."
        )
    else:
        st.caption(
            "The network's own estimate. Of a hundred answers with 90 %, ninety should be right, if it is calibrated."
        )


def _show_number(answer: "Answer", number: "Number") -> None:
    _show_heading(answer.text, "Read as the number", describe_number(number))
    if number.unread:
        st.warning(f"Not all of the page was read: {'; '.join(number.unread)}.")
    count = len(number.boxes)
    several = ", each row on its line" if len(number.rows) > 1 else ""
    st.image(
        draw_boxes(number),
        f"Your picture and what was read{several}. Blue: sure; yellow with a question mark: doubtful; "
        "red with only a question mark: not like a digit.",
        "stretch",
        alt=f"Your picture with boxes around the {count} digit{'s' * (count > 1)} that were found",
    )
    numbered = enumerate(number.predictions, 1)
    for row, digits in itertools.groupby(numbered, lambda each: each[1].preprocessed.row):
        if several:
            st.write(f"Row {row + 1}")
        with st.container(horizontal=True):
            for place, found in digits:
                _show_crop(place, found)
    st.caption("What the network saw of each digit, what it read, and how sure it is.")


def _show_crop(place: int, found: "Prediction") -> None:
    """Show what the network saw of a digit of a page, framed as on the page, and what it was read as."""
    from digit_recognizer.recognition import marks

    words = "no digit" if found.digit is None else f"{marks.label(found)}, {percent(found.confidence)}"
    words += f", {found.doubt}" if found.doubt else ""
    frame = marks.COLOURS[marks.certainty(found)]
    crop = ImageOps.expand(magnify(found.image, 2 * THUMBNAIL_SIDE).convert("RGB"), 6, frame)
    st.image(crop, f"#{place}: {words}", THUMBNAIL_SIDE, alt=f"What the network saw of #{place}, read as {words}")


def describe_number(number: "Number") -> str:
    """Return in words how sure all of a number is, and which of its digits is the least sure."""
    sure = f"{percent(number.confidence)} sure"
    if len(number.predictions) < 2:
        return sure
    weakest = number.predictions[number.weakest]
    if weakest.digit is None:
        return f"{sure} of all that was read; #{number.weakest + 1} was not read"
    doubt = f", {weakest.doubt}" if weakest.doubt else ""
    least = f"#{number.weakest + 1}: {weakest.digit}, {percent(weakest.confidence)}{doubt}"
    return f"{sure} of all of it; least sure of {least}"


def _show_heading(text: str, label: str, sure: str, alternatives: Sequence[int] = ()) -> None:
    """Show the answer as a large heading; by its role and order a screen reader says it as one sentence."""
    lines = "<br>".join(map(html.escape, text.split("\n")))
    lines += "".join(f'<span style="font-size:2rem">, or {digit}</span>' for digit in alternatives)
    size = "6rem" if len(text) == 1 else "3.5rem" if text.count("\n") < 3 else "2rem"
    st.html(
        f'<div role="status" class="answer"><h2 style="margin:0;padding:0">'
        f'<span style="font-size:1.1rem;font-weight:400">{label}</span> '
        f'<span style="display:block;font-size:{size};line-height:1.1;overflow-wrap:anywhere">{lines}</span></h2>'
        f'<p style="font-size:1.1rem;margin:0">{html.escape(sure)}</p></div>'
    )


def _show_steps(answer: "Answer") -> None:
    """Show picture, foreground, network input and ten bars, side by side where the screen is wide enough."""
    prediction, width = answer.prediction, IMAGE_SIDE // 2
    foreground = answer.page.mask
    digit = prediction.preprocessed.component.mask(foreground.shape) if answer.number is None else foreground
    with st.container(horizontal=True, key="steps"):
        st.image(_fit_square(answer.page.image), "Your picture.", width, alt="Your picture as it was read")
        alt = "The ink that was found in your picture, black on white"
        st.image(draw_foreground(foreground, digit), "The ink found; grey ink was left out.", width, alt=alt)
        if answer.reason != "blank" and answer.number is None:
            alt = "The digit as the network saw it, 28 by 28 pixels, white on black"
            st.image(magnify(prediction.image), "What the network saw: 28 x 28 pixels.", width, alt=alt)
            _show_bars(prediction)


def _show_bars(prediction: "Prediction") -> None:
    """Show the ten probabilities as a table with bars, which screen readers can read."""
    likeliest = prediction.ranked[0]
    rows = []
    for digit, probability in enumerate(prediction.probabilities):
        weight = "bold" if digit == likeliest else "normal"
        rows.append(
            f'<tr style="font-weight:{weight}"><th scope="row" style="font-weight:inherit">{digit}</th>'
            f'<td style="width:100%"><div style="background:{BLUE};height:0.7rem;width:{100 * probability:.1f}%"></div>'
            f'</td><td style="text-align:right;white-space:nowrap">{percent(probability)}</td></tr>'
        )
    caption = "How likely each digit is, of all ten."
    st.html(
        '<table class="bars" style="width:100%;border-collapse:collapse;font-size:0.8rem;line-height:1rem">'
        f'<caption style="caption-side:bottom;text-align:left;padding-top:0.4rem;opacity:0.7">{caption}</caption>'
        f"<tbody>{''.join(rows)}</tbody></table>",
        width=IMAGE_SIDE // 2,
    )


# images of the steps


def draw_foreground(foreground: np.ndarray, digit: np.ndarray) -> Image.Image:
    """Draw the foreground in grey on white, and the part of it that belongs to digits in black. Both: bool (h, w)."""
    pixels = np.full(foreground.shape, 255, np.uint8)
    pixels[foreground] = IGNORED_GREY
    pixels[digit] = 0
    return _fit_square(Image.fromarray(pixels))


def magnify(digit: np.ndarray, side: int = IMAGE_SIDE) -> Image.Image:
    """Enlarge the network's input, uint8 (28, 28), with its pixels as squares."""
    return Image.fromarray(digit).resize((side, side), Image.Resampling.NEAREST)


def draw_boxes(number: "Number") -> Image.Image:
    """Draw a box around each digit of a page and what it was read as; doubtful digits and rows are marked."""
    from digit_recognizer.recognition import marks

    digits, rows = marks.mark_digits(number), marks.mark_rows(number)
    image = number.page.image
    scale = max(1, round(PAGE_SIDE / max(image.size)))
    image = image.resize([side * scale for side in image.size], Image.Resampling.NEAREST)
    height = statistics.median(scale * (mark.box[3] - mark.box[1]) for mark in digits)
    size = min(max(0.6 * height, MIN_FONT_SIZE), max(image.size) / 22)
    font, line = ImageFont.load_default(size), max(2, round(size / 10))
    edges = _room_for_labels(image, scale, size, digits, rows)
    page, (left, above, *_) = ImageOps.expand(image.convert("RGB"), edges, "white"), edges
    pen = ImageDraw.Draw(page)
    for row in rows:
        x0, y0, x1, y1 = (scale * value + edge for value, edge in zip(row.line, (left, above) * 2, strict=True))
        for colour, width in (("white", 2 * line), ("#555555", line // 2)):  # seen on dark paper as well
            pen.line((x0, y0, x1, y1), colour, width)
        x, y = scale * row.start[0] + left - 0.4 * size, scale * row.start[1] + above
        _draw_label(pen, (x, y), row.name, font, "rm", "white", "#333333")
    for mark in digits:
        x0, y0, x1, y1 = (scale * value + edge for value, edge in zip(mark.box, (left, above) * 2, strict=True))
        pen.rectangle((x0 - line, y0 - line, x1 + line, y1 + line), outline=mark.colour, width=line)
        _draw_label(pen, (x0, y0 - 2 * line), mark.text, font, "ld", mark.colour, mark.text_colour)
        small = ImageFont.load_default(0.8 * size)
        _draw_label(pen, (x0, y1 + 2 * line), mark.place, small, "la", mark.colour, mark.text_colour)
    return page


def _room_for_labels(
    image: Image.Image, scale: float, size: float, digits: Sequence["Mark"], rows: Sequence["Row"]
) -> tuple[int, int, int, int]:
    """Pixels to add to a page at left, top, right and bottom, so that no label is cut off. size: of the letters."""
    font, (width, height) = ImageFont.load_default(size), image.size
    left = [font.getlength(row.name) + 0.8 * size - scale * row.start[0] for row in rows]
    top = [1.5 * size - scale * mark.box[1] for mark in digits]
    right = [scale * mark.box[0] + 2 * size - width for mark in digits]
    bottom = [scale * mark.box[3] + 1.5 * size - height for mark in digits]
    return round(max(0, *left)), round(max(0, *top)), round(max(0, *right)), round(max(0, *bottom))


def _draw_label(
    pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, font: Any, anchor: str, ground: str, ink: str
) -> None:
    """Write a text on a ground of one colour. anchor: as Pillow has it."""
    if text:
        left, top, right, bottom = pen.textbbox(place, text, font, anchor)
        pen.rectangle((left - 3, top - 2, right + 3, bottom + 2), ground)
        pen.text(place, text, ink, font, anchor)


def _fit_square(image: Image.Image) -> Image.Image:
    """Scale an image to fit a transparent square of IMAGE_SIDE pixels, and centre it there."""
    scale = IMAGE_SIDE / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    resampling = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    image = image.convert("RGB").resize(size, resampling)
    square = Image.new("RGBA", (IMAGE_SIDE, IMAGE_SIDE))
    square.paste(image, ((IMAGE_SIDE - image.width) // 2, (IMAGE_SIDE - image.height) // 2))
    return square


if __name__ == "__main__":
    main()
