"""Digits drawn with a few lines, dark on white, which the network in the package reads."""

from PIL import Image, ImageDraw

STROKES = {
    1: [(100, 30, 95, 170)],
    7: [(50, 40, 150, 40, 90, 170)],
    0: [(100, 30, 60, 60, 50, 100, 60, 140, 100, 170, 140, 140, 150, 100, 140, 60, 100, 30)],
    4: [(70, 40, 55, 105, 150, 105), (125, 40, 120, 170)],
}


def drawing(digit: int) -> Image.Image:
    image = Image.new("L", (200, 200), 255)
    for line in STROKES[digit]:
        ImageDraw.Draw(image).line(line, fill=0, width=14, joint="curve")
    return image
