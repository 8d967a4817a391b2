"""The pictures that the web page shows of its steps, from arrays to Pillow images. Knows nothing of Streamlit."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from digit_recognizer.preprocessing.image_io import Picture
from digit_recognizer.preprocessing.mnist_format import Intake
from digit_recognizer.recognition.recognizer import Number, Prediction

SIDE = 320  # pixels; shown at half of it, sharp on a telephone, too
READ, UNREAD = "#0072B2", "#D55E00"  # Okabe and Ito's blue and orange, told apart by colour-blind eyes
LEFT_OUT = 190  # grey of ink that was found and does not belong to the digit


def original(intake: Intake) -> Image.Image:
    """The picture as it was read, within a square."""
    return _in_a_square(intake.picture.image)


def found_ink(intake: Intake, strokes: np.ndarray) -> Image.Image:
    """The ink that was found, in grey on white, and what of it belongs to digits, strokes, in black."""
    page = np.full(intake.found.mask.shape, 255, np.uint8)
    page[intake.found.mask] = LEFT_OUT
    page[strokes] = 0
    return _in_a_square(Image.fromarray(page))


def seen(digit: np.ndarray, side: int = SIDE) -> Image.Image:
    """What the network saw, uint8 (28, 28), with its pixels as squares."""
    return Image.fromarray(digit).resize((side, side), Image.Resampling.NEAREST)


def numbered(read: Picture, number: Number) -> Image.Image:
    """The picture with a box around each digit and its number; orange, with a question mark, where it was not read."""
    factor = max(1, round(2 * SIDE / max(read.image.size)))
    picture = read.image.resize([side * factor for side in read.image.size], Image.Resampling.NEAREST)
    scale = factor / read.scale  # boxes are in the original's pixels
    size = max(picture.size) / 22
    font = ImageFont.load_default(size)
    border = round(1.5 * size)
    page = Image.new("RGB", (picture.width + 2 * border, picture.height + 2 * border), "white")
    page.paste(picture, (border, border))
    draw = ImageDraw.Draw(page)
    for place, (box, prediction) in enumerate(zip(number.boxes, number.predictions, strict=True), 1):
        left, top, right, bottom = (round(side * scale) + border for side in box)
        colour = UNREAD if prediction.digit is None else READ
        draw.rectangle((left - 3, top - 3, right + 3, bottom + 3), outline=colour, width=3)
        label = label_of(place, prediction)
        above = top - 3 - 1.3 * size
        draw.rectangle((left - 3, above, left + 3 + draw.textlength(label, font), top - 3), fill=colour)
        draw.text((left, above), label, "white", font)
    return page


def label_of(place: int, prediction: Prediction) -> str:
    """What stands at a digit's box; its place, from 1, is not to be taken for the digit, hence the sign."""
    return f"#{place}?" if prediction.digit is None else f"#{place}"


def _in_a_square(image: Image.Image) -> Image.Image:
    """At most SIDE wide and high, in the middle of a square that can be seen through."""
    scale = SIDE / max(image.size)
    size = [max(1, round(side * scale)) for side in image.size]
    way = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    image = image.convert("RGB").resize(size, way)
    square = Image.new("RGBA", (SIDE, SIDE))
    square.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return square
