"""How strongly training digits are changed, in each of the ways that augmentation.py knows."""

from dataclasses import dataclass

from digit_recognizer.recipes import kinds
from digit_recognizer.runtime.errors import UserError

# What each strength may be at most; more would make other digits of them, or none.
STRENGTHS = {
    "rotation": 180,
    "shift": 14,
    "scale": 0.9,
    "shear": 1,
    "elastic": 14,
    "stroke": 1,
    "blur": 1,
    "contrast": 1,
    "hard_edges": 1,
    "styles": 1,
}


@dataclass(frozen=True)
class Augmentation:
    """How strongly training digits are changed at random, each in its own way; zero leaves them as they are.

    Raises UserError for a strength out of its range.
    """

    rotation: float = 0.0  # degrees to either side, at most
    shift: float = 0.0  # pixels in each direction, at most
    scale: float = 0.0  # fraction by which width and height, each, grow or shrink, at most
    shear: float = 0.0  # pixels of slant per pixel of height, at most
    elastic: float = 0.0  # pixels by which places are displaced, at most
    stroke: float = 0.0  # pixels added to or taken from each side of a stroke, at most
    blur: float = 0.0  # share of a 3 by 3 filter, at most
    contrast: float = 0.0  # by how much greys darken or fade, at most
    hard_edges: float = 0.0  # probability of being cut to paper and ink
    styles: float = 0.0  # probability that a 1 gets a flag, or flag and foot, and a 7 a bar
    sharp: bool = False  # whether what is moved is interpolated by cubics, which blur less than straight lines

    def __post_init__(self) -> None:
        kinds.check(self)
        for name, most in STRENGTHS.items():
            if not 0 <= getattr(self, name) <= most:
                raise UserError(f"the strength of {name} must be from 0 to {most}, not {getattr(self, name)}")

    @property
    def moves(self) -> bool:
        """Whether anything changes its place."""
        return any((self.rotation, self.shift, self.scale, self.shear, self.elastic))
