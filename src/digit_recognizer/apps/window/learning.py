"""Training beside the window: in a thread, shown while it runs, used when it is done, saved when asked."""

from __future__ import annotations

from pathlib import Path
from tkinter import filedialog, messagebox
from typing import TYPE_CHECKING, Any, NamedTuple

from digit_recognizer import recipes
from digit_recognizer.apps.window.background import BackgroundControl, BackgroundThread
from digit_recognizer.apps.window.layout import shorten
from digit_recognizer.recipes.recipe import Recipe
from digit_recognizer.recognition.recognizer import Recognizer

if TYPE_CHECKING:  # the window opens without PyTorch
    from torch import nn

    from digit_recognizer import data
    from digit_recognizer.apps.window.window import Window

RECIPE = "mlp_128_64_adam_10ep"  # of tkinter-mnist, the project whose window this reproduces


class TrainedModel(NamedTuple):
    """A complete training: what checkpoints.save takes."""

    model: nn.Module
    recipe: Recipe
    record: dict[str, Any]


class TrainingThread(BackgroundThread):
    """One run of a recipe with seed 0; its events are the loaded digits and the metrics of each epoch."""

    def __init__(self, recipe: Recipe, dataset: str, data_dir: str | None) -> None:
        super().__init__()
        self.recipe, self.dataset, self.data_dir = recipe, dataset, data_dir

    def work(self) -> TrainedModel:
        """Load, train, score."""
        from digit_recognizer import data, evaluation, models, records, training
        from digit_recognizer.recognition import calibration
        from digit_recognizer.runtime.device import choose_device

        device = choose_device("cpu", threads=1)
        digits = data.load(self.dataset, self.data_dir, fall_back=True)
        self.events.put(digits)
        model = models.build(self.recipe, seed=0).to(device)
        total = self.recipe.epochs * len(digits.train.labels)

        model, history = training.fit(
            model, digits, self.recipe, quiet=True,
            on_step=lambda batch_size: self.wait_or_stop(self.progress + batch_size / total),
            on_epoch=lambda state: self.events.put(state["history"][-1]),
        )  # fmt: skip
        scores = evaluation.score(evaluation.predict(model, digits.test.images), digits.test.labels)
        calibrated = calibration.calibrate(model, digits, self.recipe.augmentation)
        record = records.describe(self.recipe, digits, 0, model, history, scores, calibrated)
        return TrainedModel(model, self.recipe, record)


class TrainingControl(BackgroundControl):
    """The training of a window, if one runs, and the network of the last one.

    window: whose layout shows it; dataset, data_dir: what is trained on, as data.load takes them.
    trained: a network that is not saved yet.
    """

    def __init__(self, window: Window, data_dir: str | None) -> None:
        super().__init__(window)
        self.dataset, self.data_dir = "mnist", data_dir
        self.recipe = recipes.get(RECIPE)
        self.history: list[dict[str, Any]] = []
        self.trained: TrainedModel | None = None

    @property
    def unsaved_work(self) -> str | None:
        """What closing the window would lose, in plain words."""
        if self.thread is not None:
            return "A training is running"
        return "The trained model is not saved" if self.trained else None

    def start_or_stop(self) -> None:
        """Start a training, or stop the one that runs."""
        if self.thread is not None:
            self.thread.stop()
            self.end("Stopped")
            self.window.layout.set_status("The training was stopped; the network is the one from before.")
            return
        question = "The trained model is not saved. Train another in its place?"
        if self.trained is None or messagebox.askokcancel("Train", question, parent=self.window.root):
            self._start()

    def _start(self) -> None:
        self.history = []
        self.window.layout.training_label.configure(text="Fetching the digits…")
        self.begin(TrainingThread(self.recipe, self.dataset, self.data_dir))

    def show(self, event: data.Digits | dict[str, Any] | TrainedModel) -> None:
        """Show what the thread has come to."""
        if isinstance(event, TrainedModel):
            self._finish(event)
        elif isinstance(event, dict):
            self.history.append(event)
            self._show_history()
        else:
            self._show_start(event)

    def _show_start(self, digits: data.Digits) -> None:
        layout = self.window.layout
        layout.training_label.configure(text=f"{digits.title}, first epoch…")
        layout.curve.show(self.recipe.epochs, [])
        if digits.name != self.dataset:
            missing = "MNIST is neither on disk nor can it be downloaded"
            layout.set_status(f"{missing}; training on {digits.title}, the embedded set.", error=True)

    def _show_history(self) -> None:
        last = self.history[-1]
        self.window.layout.curve.show(self.recipe.epochs, self.history)
        text = f"Epoch {last['epoch']} of {self.recipe.epochs}: {last['train_accuracy']:.2%}"
        self.window.layout.training_label.configure(text=text)

    def _finish(self, trained: TrainedModel) -> None:
        from digit_recognizer import data

        scores, title = trained.record["scores"], data.TITLES[trained.record["dataset"]]
        self.end(f"Done: {self.history[-1]['train_accuracy']:.2%}")
        self.trained = trained
        self.window.layout.save_model_button.state(["!disabled"])
        self.window.use_recognizer(Recognizer(trained.model), f"just trained on {title}, not saved")
        accuracy = f"{scores['accuracy']:.2%} of the {scores['count']:,} test digits of {title} right"
        self.window.layout.set_status(f"The new network reads from now on; {accuracy}. Save model… keeps it.")

    def save(self) -> None:
        """Ask for a file, and whether to replace it, and save the trained network there."""
        trained = self.trained
        if trained is None:
            return
        path = filedialog.asksaveasfilename(
            parent=self.window.root, title="Save the trained model", defaultextension=".pth",
            initialfile=f"{trained.record['dataset']}_model.pth", confirmoverwrite=True,
        )  # fmt: skip
        if not path:
            return
        from digit_recognizer import checkpoints

        checkpoints.save(path, trained.model, trained.recipe, trained.record)
        if self.window.recognizer.model is trained.model:  # no other was loaded since
            self.window.layout.model_label.configure(text=f"Network: {shorten(Path(path).name)}")
        self.trained = None
        self.window.layout.save_model_button.state(["disabled"])
        self.window.layout.set_status(f"Saved {path}")
