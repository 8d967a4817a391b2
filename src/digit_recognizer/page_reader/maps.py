"""What PageNet returns of a picture, and in what cells: shared by what trains it and what reads with it."""

from typing import Any, NamedTuple

STRIDE = 4  # pixels per cell of the maps
MULTIPLE = 16  # of which height and width of a picture must be


class Maps(NamedTuple):
    """Tensors while PageNet is trained, arrays while it reads; float32, in cells of STRIDE pixels.

    centre: (n, 1, h, w), logits that a glyph's centre is there. classes: (n, CLASSES, h, w), logits.
    offset: (n, 2, h, w), from the cell's middle to the centre, x and y, in cells. size: (n, 2, h, w), logarithm of
    width and height in cells.
    """

    centre: Any
    classes: Any
    offset: Any
    size: Any
