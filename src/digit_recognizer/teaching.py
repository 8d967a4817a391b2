"""Networks that teach another: it learns what they answer together to the very picture that it is shown.

After Hinton, Vinyals and Dean, Distilling the knowledge in a neural network (2015). What they are unsure of, and where
a label is wrong, their answer says.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from digit_recognizer.recipe import Recipe


def seeds(recipe: Recipe, seed: int) -> list[int]:
    """A seed for each teacher, drawn from that of the run, so that each run has teachers of its own."""
    return torch.randint(1 << 31, (recipe.teachers,), generator=torch.Generator().manual_seed(seed)).tolist()


@torch.no_grad()
def mean_answer(teachers: Sequence[nn.Module], pixels: Tensor) -> Tensor:
    """The mean of their probabilities for each picture, float32 (n, 10). They are left ready to predict."""
    answers = [teacher.eval()(pixels).float().softmax(1) for teacher in teachers]
    return torch.stack(answers).mean(0)
