"""How the web page shows an answer: the digit, how sure, the steps on the way, and what to do where there is none."""

import html
import re
from collections.abc import Sequence
from typing import Any

import streamlit as st

from digit_recognizer.apps.web import page_pictures, reading
from digit_recognizer.apps.web.reading import Answer
from digit_recognizer.recognition.recognizer import UNLIKE, Number, Prediction, Recognizer
from digit_recognizer.runtime.text import one_line, percent

SURE = ((0.99, "almost certain"), (0.9, "fairly sure"), (0.6, "not sure"), (0, "little more than a guess"))
MEND = "Write one digit large and dark on plain light paper, let it fill most of the picture, and try again."
REFUSED = {
    "blank": "There is nothing to read: no ink stands out in this picture.",
    UNLIKE: "This does not look like a handwritten digit, so no answer is given.",
}
BAR = "#0072B2"
THUMBNAIL = 96  # pixels


def show(answer: Answer) -> None:
    """One picture's answer, with everything that led to it."""
    if answer.reason:
        st.warning(f"{REFUSED[answer.reason]} {MEND}")
        _steps(answer)
    elif answer.number is not None:
        _number(answer, answer.number)
    else:
        _digit(answer.prediction)
        _steps(answer)
    if answer.warnings:
        st.info("Noticed in the picture: " + "; ".join(answer.warnings) + ".")


def show_many(recognizer: Recognizer, files: Sequence[Any], whole: bool) -> None:
    """A table of many files, one row each, and the same table to take away."""
    with st.spinner(f"Reading {len(files)} pictures ..."):
        rows = [reading.row(recognizer, file.name, file, whole) for file in files]
    count = sum(bool(row["read"]) for row in rows)
    st.subheader(f"{count} of {len(rows)} pictures were read")
    st.dataframe(rows, hide_index=True, alt=f"Table of {len(rows)} files: what each was read as, and how sure")
    st.caption("One row for each file; the note says what was noticed, or why a file could not be read.")
    st.download_button("Download the table (CSV)", reading.as_csv(rows), "digits.csv", "text/csv", on_click="ignore")
    st.caption("Saves the table as a file that every spreadsheet opens.")


def plain(text: str) -> str:
    """A stranger's text, such as a file's name, on one line and without what Markdown would make of it."""
    return re.sub(r"([\\`*_{}\[\]()#+!|$~:<>&-])", r"\\\1", one_line(text))


def in_words(confidence: float) -> str:
    """How sure a confidence, 0 to 1, is, in words."""
    return next(words for least, words in SURE if confidence >= least)


def _digit(prediction: Prediction) -> None:
    sure = f"{percent(prediction.confidence)} sure: {in_words(prediction.confidence)}"
    _big(str(prediction.digit), "Read as the digit", sure)
    second = prediction.ranked[1]
    if prediction.confidence < 0.9:
        st.caption(
            f"The next likeliest is {second}, with {percent(prediction.probabilities[second])}. "
            "If the picture holds several digits, switch on 'Read a whole number' under Options."
        )
    else:
        st.caption(
            "The network's own estimate. Of a hundred answers with 90 %, ninety should be right, if it is calibrated."
        )


def _number(answer: Answer, number: Number) -> None:
    weakest = next(place for place, found in enumerate(number.predictions, 1) if found.confidence == answer.confidence)
    sure = f"least sure of #{weakest}: {percent(answer.confidence)}, {in_words(answer.confidence)}"
    _big(answer.text, "Read as the number", sure)
    unread = "A question mark stands for a shape that does not look like a digit."
    st.caption(unread if "?" in answer.text else "Read from left to right, row by row.")
    st.image(
        page_pictures.numbered(answer.intake.picture, number),
        "Your picture: the digits that were found, numbered in reading order.",
        "stretch",
        alt=f"Your picture with boxes around the {len(number.boxes)} digits that were found",
    )
    with st.container(horizontal=True):
        for place, found in enumerate(number.predictions, 1):
            label = page_pictures.label_of(place, found)
            words = "no digit" if found.digit is None else f"{found.digit}, {percent(found.confidence)}"
            seen = page_pictures.seen(found.image, 2 * THUMBNAIL)
            st.image(seen, f"{label}: {words}", THUMBNAIL, alt=f"What the network saw of {label}, read as {words}")
    st.caption("What the network saw of each digit, what it read, and how sure it is.")


def _big(text: str, label: str, sure: str) -> None:
    """The answer as a large heading; role and order let a screen reader say it as one sentence."""
    lines = "<br>".join(map(html.escape, text.split("\n")))
    size = "6rem" if len(text) == 1 else "3.5rem"
    st.html(
        f'<div role="status" class="answer"><h2 style="margin:0;padding:0">'
        f'<span style="font-size:1.1rem;font-weight:400">{label}</span> '
        f'<span style="display:block;font-size:{size};line-height:1.1;overflow-wrap:anywhere">{lines}</span></h2>'
        f'<p style="font-size:1.1rem;margin:0">{html.escape(sure)}</p></div>'
    )


def _steps(answer: Answer) -> None:
    """Picture, ink, what the network saw, and the ten bars, side by side as far as the screen is wide."""
    intake, prediction = answer.intake, answer.prediction
    strokes = intake.strokes if answer.number is None else intake.found.mask
    with st.container(horizontal=True, key="steps"):
        width = page_pictures.SIDE // 2
        st.image(page_pictures.original(intake), "Your picture.", width, alt="Your picture as it was read")
        alt = "The ink that was found in your picture, black on white"
        st.image(page_pictures.found_ink(intake, strokes), "The ink found; grey ink was left out.", width, alt=alt)
        if answer.reason != "blank" and answer.number is None:
            alt = "The digit as the network saw it, 28 by 28 pixels, white on black"
            st.image(page_pictures.seen(prediction.image), "What the network saw: 28 x 28 pixels.", width, alt=alt)
            _bars(prediction)


def _bars(prediction: Prediction) -> None:
    """A table of the ten digits whose bars are drawn beside their numbers; a table is what screen readers read best."""
    likeliest = prediction.ranked[0]
    rows = []
    for digit, probability in enumerate(prediction.probabilities):
        weight = "bold" if digit == likeliest else "normal"
        rows.append(
            f'<tr style="font-weight:{weight}"><th scope="row" style="font-weight:inherit">{digit}</th>'
            f'<td style="width:100%"><div style="background:{BAR};height:0.7rem;width:{100 * probability:.1f}%"></div>'
            f'</td><td style="text-align:right;white-space:nowrap">{percent(probability)}</td></tr>'
        )
    caption = "How likely each digit is, of all ten."
    st.html(
        '<table class="bars" style="width:100%;border-collapse:collapse;font-size:0.8rem;line-height:1rem">'
        f'<caption style="caption-side:bottom;text-align:left;padding-top:0.4rem;opacity:0.7">{caption}</caption>'
        f"<tbody>{''.join(rows)}</tbody></table>",
        width=page_pictures.SIDE // 2,
    )
