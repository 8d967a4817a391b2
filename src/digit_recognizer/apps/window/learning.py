"""A network trained beside the drawing, shown as it comes along, used when it is done, and kept when asked."""

import queue
from pathlib import Path
from tkinter import filedialog, messagebox
from typing import Any

from digit_recognizer import checkpoints, data, recipes
from digit_recognizer.apps.window.layout import short
from digit_recognizer.apps.window.training_thread import Started, Trained, Training
from digit_recognizer.recognition.recognizer import Recognizer
from digit_recognizer.runtime.errors import UserError

RECIPE = "mlp_128_64_adam_10ep"  # project 000's, whose window this is
LISTEN = 100  # milliseconds between two looks at how far the training has come


class Learning:
    """The training of a drawing window, if one runs, and the network that came of the last.

    window: see draw_actions.Window; dataset, data_dir: what is trained on, as data.load takes them.
    """

    def __init__(self, window: Any, data_dir: str | None, dataset: str = "mnist") -> None:
        self.window, self.dataset, self.data_dir = window, dataset, data_dir
        self.recipe = recipes.get(RECIPE)
        self.thread: Training | None = None
        self.history: list[dict] = []
        self.trained: Trained | None = None  # and not saved yet

    @property
    def would_be_lost(self) -> str | None:
        """What closing the window would lose, in plain words."""
        if self.thread is not None:
            return "A training is running"
        return "The trained model is not saved" if self.trained else None

    def pause(self) -> None:
        """Leave the processor to the window until go_on."""
        if self.thread is not None:
            self.thread.may_go_on.clear()

    def go_on(self) -> None:
        """Train again after a pause."""
        if self.thread is not None:
            self.thread.may_go_on.set()

    def end(self) -> None:
        """Stop a training, if one runs, and wait for it, but not for a download."""
        if self.thread is not None:
            self.thread.stop()
            self.thread.join(1.0)

    def train_or_stop(self) -> None:
        """Start a training, or stop the one that runs."""
        if self.thread is not None:
            self.thread.stop()
            self._ended("Stopped")
            self.window.layout.say("The training was stopped; the network is the one from before.")
            return
        question = "The trained model is not saved. Train another in its place?"
        if self.trained is None or messagebox.askokcancel("Train", question, parent=self.window.root):
            self._train()

    def _train(self) -> None:
        self.thread = Training(self.recipe, self.dataset, self.data_dir)
        self.thread.start()
        self.history = []
        self.window.layout.train.configure(text="Stop training")
        self.window.layout.trained.configure(text="Fetching the digits…")
        self._listen(self.thread)

    def _listen(self, training: Training) -> None:
        """Show what is new of a training, and come back as long as it runs."""
        while self.thread is training:
            try:
                news = training.news.get_nowait()
            except queue.Empty:
                self.window.layout.progress.configure(value=training.done)
                self.window.root.after(LISTEN, self._listen, training)
                return
            if isinstance(news, Started):
                self._started_on(news.digits.name, news.digits.title)
            elif isinstance(news, Trained):
                self._finished(news)
            elif isinstance(news, UserError):
                self._ended("Failed")
                raise news
            else:
                self.history.append(news)
                self._show_history()

    def _started_on(self, name: str, title: str) -> None:
        self.window.layout.trained.configure(text=f"{title}, first epoch…")
        self.window.layout.curve.show(self.recipe.epochs, [])
        if name != self.dataset:
            self.window.layout.say(
                f"MNIST is neither on disk nor to be had; training on {title}, the embedded set.", True
            )

    def _show_history(self) -> None:
        last = self.history[-1]
        self.window.layout.curve.show(self.recipe.epochs, self.history)
        text = f"Epoch {last['epoch']} of {self.recipe.epochs}: {last['train_accuracy']:.2%}"
        self.window.layout.trained.configure(text=text)

    def _finished(self, trained: Trained) -> None:
        scores, title = trained.scores, data.TITLES[trained.record["dataset"]]
        self._ended(f"Done: {self.history[-1]['train_accuracy']:.2%}")
        self.trained = trained
        self.window.layout.keep.state(["!disabled"])
        self.window.use(Recognizer(trained.model), f"just trained on {title}, not saved")
        right = f"{scores.accuracy:.2%} of the {scores.count:,} test digits of {title} right"
        self.window.layout.say(f"The new network reads from now on; {right}. Save model… keeps it.")

    def _ended(self, text: str) -> None:
        self.thread = None
        self.window.layout.train.configure(text="Train a new model")
        self.window.layout.trained.configure(text=text)
        self.window.layout.progress.configure(value=0)

    def save_model(self) -> None:
        """Ask where the trained network is to be kept, and whether to replace what is there."""
        if self.trained is None:
            return
        path = filedialog.asksaveasfilename(
            parent=self.window.root,
            title="Save the trained model",
            initialfile=f"{self.trained.record['dataset']}_model.pth",
            defaultextension=".pth",
            confirmoverwrite=True,
        )
        if path:
            self.keep_model(path)

    def keep_model(self, path: str) -> None:
        """Write the trained network to a file."""
        trained = self.trained
        if trained is None:
            return
        checkpoints.save(path, trained.model, trained.recipe, trained.record)
        if self.window.recognizer.model is trained.model:  # no other was loaded since
            self.window.layout.network.configure(text=f"Network: {short(Path(path).name)}")
        self.trained = None
        self.window.layout.keep.state(["disabled"])
        self.window.layout.say(f"Saved {path}")
