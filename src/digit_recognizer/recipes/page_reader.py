"""The recipe of PageNet, which finds digits on pages. Its pages are synthetic, made from MNIST's training digits."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from digit_recognizer.runtime.errors import UserError

NAME = "page_reader"
OTHER = 10  # the class of glyphs that are not digits: letters, signs, scribbles, mirrored digits
CLASSES = 11  # the ten digits and OTHER


@dataclass(frozen=True)
class PageRecipe:
    """A training of PageNet. Each page is seen once; an epoch is a number of pages.

    widths: channels at a half, a quarter, an eighth and a sixteenth of the resolution. head: channels of the last
    layers. learning_rate: the highest; it rises over the first tenth of the steps and falls along a cosine.
    """

    name: str = NAME
    dataset: str = "mnist"
    widths: tuple[int, int, int, int] = (24, 32, 64, 112)
    head: int = 64
    epochs: int = 20
    pages_per_epoch: int = 12_000
    batch_size: int = 16
    learning_rate: float = 0.004
    weight_decay: float = 0.01
    precision: str = "bfloat16"

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size) < 1:
            raise UserError("epochs and batch size must be at least 1")
        if self.batch_size > self.pages_per_epoch:
            raise UserError(f"the batch size {self.batch_size:,} is larger than the {self.pages_per_epoch:,} pages")
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"the learning rate must be greater than 0, not {self.learning_rate}")

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; what does not fill one is left out."""
        return self.pages_per_epoch // self.batch_size

    @property
    def settings(self) -> dict[str, Any]:
        """All fields but the name, in plain types."""
        fields = {name: value for name, value in dataclasses.asdict(self).items() if name != "name"}
        return json.loads(json.dumps(fields))


def get(**overrides: Any) -> PageRecipe:
    """The recipe, with the given fields replaced; a field given as None stays the recipe's own."""
    return dataclasses.replace(PageRecipe(), **{name: value for name, value in overrides.items() if value is not None})
