"""Learn my hand: drawings kept with their right answers, and a network that learns them beside the window.

Drawings and network stay in a folder of this user on this machine; nothing is sent anywhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from digit_recognizer.apps.window.background import BackgroundControl, BackgroundThread
from digit_recognizer.apps.window.drawing import kept_drawings, save_drawing
from digit_recognizer.apps.window.review import Doubtful, Review
from digit_recognizer.recognition.recognizer import SHIPPED, Recognizer
from digit_recognizer.runtime.errors import UserError

if TYPE_CHECKING:  # the window opens without PyTorch
    from digit_recognizer.apps.window.window import Window
    from digit_recognizer.recognition.adaptation import Adaptation, Suspect, Taken

ENOUGH = 10  # drawings; adaptation.MIN_PICTURES, which needs PyTorch to be imported
NAME = "my hand"  # of the network, in the window


def own_folder() -> Path:
    """Where this system keeps a program's data of this user."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", ""))
        base = base if base.is_absolute() else home / ".local" / "share"  # a relative one counts as none
    return base / "digit-recognizer"


class HandThread(BackgroundThread):
    """Trains the network in the package on for these drawings.

    Its events: a list of Doubtful, where some look wrong, and an Adaptation.
    """

    def __init__(self, drawings: list[tuple[Path, int]], data_dir: str | None) -> None:
        super().__init__()
        self.drawings, self.data_dir = drawings, data_dir

    def work(self) -> Adaptation:
        """Read the drawings, learn, compare."""
        from digit_recognizer import checkpoints
        from digit_recognizer.recognition import adaptation
        from digit_recognizer.runtime.device import choose_device

        choose_device("cpu", threads=1)
        taken = adaptation.take_digits(self.drawings, lambda fraction: self.wait_or_stop(0))
        start, others = checkpoints.pretrained(SHIPPED), adaptation.load_others(self.data_dir)
        try:
            adapted = adaptation.adapt(start, taken.digits, others, on_step=self.wait_or_stop)
        except adaptation.MislabelledError as error:
            self._tell(error.suspects, taken)
            raise UserError(f"Your hand was not learned: {error}.") from error
        self._tell(adapted.suspects, taken)
        if adapted.worse:
            names = ", ".join(each.name for each in adapted.worse)
            raise UserError(f"Your hand was not learned: the network would be worse on {names}. The old one reads on.")
        return adapted

    def _tell(self, suspects: Sequence[Suspect], taken: Taken) -> None:
        if suspects:
            self.events.put([Doubtful(taken.paths[each.picture], each.label, each.looks_like) for each in suspects])


class HandControl(BackgroundControl):
    """The drawings that are kept, and the network that learned them.

    folder: of the drawings. network: its file, absent while none has learned. review: shows what looks wrong.
    count: of the drawings that learning began with.
    """

    def __init__(self, window: Window, data_dir: str | None) -> None:
        super().__init__(window)
        self.data_dir = data_dir
        self.review: Review | None = None
        self.count = 0
        self.folder, self.network = own_folder() / "drawings", own_folder() / "my_hand.pth"

    @property
    def can_learn(self) -> bool:
        """Whether there are enough drawings, of more than one digit."""
        labels = [label for _, label in kept_drawings(self.folder)]
        return len(labels) >= ENOUGH and len(set(labels)) > 1

    def keep(self, label: int) -> None:
        """Keep the drawing with its right answer."""
        path = save_drawing(self.window.drawing.render(), self.folder, label)
        count = len(kept_drawings(self.folder))
        more = "Learn my hand trains on them." if self.can_learn else f"{ENOUGH} of two digits and more can be learned."
        self.window.layout.set_status(f"Kept {path}, on this machine alone. Drawings there: {count}. {more}")
        self.window.update_buttons()

    def use_learned(self) -> None:
        """Read with the network that learned this hand earlier, where there is one. Raises UserError."""
        if self.network.exists():
            self.window.use_recognizer(Recognizer.load(self.network), NAME)

    def start_or_stop(self) -> None:
        """Learn the drawings that are kept, or stop learning."""
        if self.thread is None:
            self._close_review()
            self.window.layout.training_label.configure(text="Learning your hand…")
            drawings = kept_drawings(self.folder)
            self.count = len(drawings)
            self.begin(HandThread(drawings, self.data_dir))
        else:
            self.thread.stop()
            self.end("Stopped")
            self.window.layout.set_status("Learning was stopped; the network is the one from before.")

    def show(self, event: list[Doubtful] | Adaptation) -> None:
        """Show the drawings that look wrong, or use the network that learned."""
        if isinstance(event, list):
            self._close_review()
            self.review = Review(self.window.root, event, self.window.layout.px, self._reviewed)
        else:
            self._finish(event)

    def _reviewed(self) -> None:
        self.window.update_buttons()
        self.window.layout.set_status("Press Learn my hand to learn from the corrected drawings.")

    def _close_review(self) -> None:
        if self.review is not None:
            self.review.destroy()
            self.review = None

    def _finish(self, event: Adaptation) -> None:
        """Save the network that learned, and read with it from now on."""
        from digit_recognizer import checkpoints

        self.end("Your hand is learned")
        checkpoints.save(self.network, event.model, event.recipe, event.record)
        self.use_learned()
        own, test = event.comparisons[:2]
        text = f"Your hand is learned: {own.after} of {own.total} drawings are right, each unseen, {own.before} "
        text += f"before. {test.name}: {test.after / test.total:.2%}, {test.before / test.total:.2%} before."
        if event.suspects:
            text += f" Left out, since they look like other digits: {len(event.suspects)}."
        if unread := self.count - own.total - len(event.suspects):
            text += f" Left out, since they are not like one digit: {unread}."
        self.window.layout.set_status(text)
        self.window.update_buttons()

    def forget(self) -> None:
        """Delete the network that learned, and read with the one from before. The drawings stay."""
        try:
            self.network.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{self.network} cannot be deleted: {error.strerror}") from error
        self.window.use_recognizer(*self.window.first)
        self.window.update_buttons()
        self.window.layout.training_label.configure(text="Your hand is forgotten")
        self.window.layout.set_status(
            f"Forgotten: the network from before reads again. Your drawings stay in {self.folder}"
        )
