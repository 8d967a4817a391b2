"""Training beside a window that stays usable: in a thread, to be stopped between batches."""

import queue
import threading
from typing import Any, NamedTuple

from torch import nn

from digit_recognizer import data, evaluation, models, records, training
from digit_recognizer.evaluation import Scores
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.recognition import calibration
from digit_recognizer.runtime.device import choose_device
from digit_recognizer.runtime.errors import UserError


class Started(NamedTuple):
    """The first news: what is trained on."""

    digits: data.Digits


class Trained(NamedTuple):
    """The last news of a training that was not stopped; what checkpoints.save takes, and the scores in it."""

    model: nn.Module
    recipe: Recipe
    record: dict[str, Any]
    scores: Scores


class _Stopped(Exception):
    """Leaves training.fit between two batches."""


class Training(threading.Thread):
    """One run of a recipe, with seed 0.

    news: what happened, to be fetched by the window: Started, a row of the history after each epoch, and at the end
    Trained or a UserError; none after stop. done: fraction of all digits.
    may_go_on: the window clears it while somebody draws, and training waits, else the window would be slow.
    """

    def __init__(self, recipe: Recipe, dataset: str, data_dir: str | None) -> None:
        super().__init__(daemon=True)  # a download that hangs does not keep the program from ending
        self.recipe, self.dataset, self.data_dir = recipe, dataset, data_dir
        self.news: queue.SimpleQueue[Started | dict[str, Any] | Trained | UserError] = queue.SimpleQueue()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.done = 0.0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End the training within a few batches; returns at once."""
        self._stopping.set()
        self.may_go_on.set()

    def run(self) -> None:
        """What the thread does: load, train, score."""
        try:
            self.news.put(self._train())
        except _Stopped:
            pass
        except UserError as error:
            self.news.put(error)
        except Exception as error:  # whatever it is, the window must learn that the training has ended
            self.news.put(UserError(f"the training failed: {error}"))

    def _train(self) -> Trained:
        device = choose_device("cpu", threads=1)
        digits = data.load(self.dataset, self.data_dir, fall_back=True)
        self.news.put(Started(digits))
        model = models.build(self.recipe, seed=0).to(device)
        count = self.recipe.epochs * len(digits.train.labels)

        def before_batch(layer: nn.Module, inputs: Any) -> None:
            self.may_go_on.wait()
            self.done += layer.training * len(inputs[0]) / count
            if self._stopping.is_set():
                raise _Stopped

        # The first layer's hook: a plain network as a whole is never called while it trains (see by_hand).
        watch = next(model.children()).register_forward_pre_hook(before_batch)
        model, history = training.fit(
            model, digits, self.recipe, quiet=True, after_epoch=lambda progress: self.news.put(progress["history"][-1])
        )
        watch.remove()
        scores = evaluation.score(evaluation.predict(model, digits.test.images), digits.test.labels)
        meaning = calibration.meaning(model, digits, self.recipe.augmentation)
        record = records.describe(self.recipe, digits, 0, model, history, scores, meaning)
        return Trained(model, self.recipe, record, scores)
