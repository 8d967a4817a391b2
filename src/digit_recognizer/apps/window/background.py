"""Work beside the window: in a thread, paused while somebody draws, shown while it runs, stopped when asked."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

from digit_recognizer.runtime.errors import UserError
from digit_recognizer.runtime.packages import missing_package

if TYPE_CHECKING:
    from digit_recognizer.apps.window.window import Window

POLL_INTERVAL = 100  # milliseconds


class _Stopped(Exception):
    """Raised between two steps to leave the work."""


class BackgroundThread(threading.Thread):
    """One piece of work, between whose steps it can be paused and stopped.

    events: for the window to fetch: what the work puts there, at the end its result or a UserError; nothing after stop.
    progress: the fraction that is done, 0 to 1. unpaused: cleared while somebody draws, to leave the processor to the
    window.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)  # a download that hangs must not keep the program from ending
        self.events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.unpaused = threading.Event()
        self.unpaused.set()
        self.progress = 0.0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Have the work end at its next step; returns at once."""
        self._stopping.set()
        self.unpaused.set()

    def run(self) -> None:
        """Work, and tell how it ended: the body of the thread."""
        try:
            self.events.put(self.work())
        except _Stopped:
            pass
        except UserError as error:
            self.events.put(error)
        except ImportError as error:
            self.events.put(missing_package(error))
        except Exception as error:  # the window must learn of any end
            self.events.put(UserError(f"the training failed: {error}"))

    def work(self) -> Any:
        """Do the work and return its result; calls wait_or_stop between its steps."""
        raise NotImplementedError

    def wait_or_stop(self, progress: float) -> None:
        """Note the progress, and wait while the work is paused."""
        self.unpaused.wait()
        self.progress = progress
        if self._stopping.is_set():
            raise _Stopped


class BackgroundControl:
    """The work of a window, if it runs. window: whose layout shows it."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.thread: BackgroundThread | None = None

    def pause(self) -> None:
        """Leave the processor to the window until resume."""
        if self.thread is not None:
            self.thread.unpaused.clear()

    def resume(self) -> None:
        """Work again after a pause."""
        if self.thread is not None:
            self.thread.unpaused.set()

    def shut_down(self) -> None:
        """Stop what runs and wait for it, but not for a download."""
        if self.thread is not None:
            self.thread.stop()
            self.thread.join(1.0)

    def begin(self, thread: BackgroundThread) -> None:
        """Start work and show its events."""
        self.thread = thread
        thread.start()
        self.window.update_buttons()
        self._poll(thread)

    def end(self, text: str) -> None:
        """Show that the work has ended. text: how."""
        self.thread = None
        self.window.layout.training_label.configure(text=text)
        self.window.layout.progress_bar.configure(value=0)
        self.window.update_buttons()

    def show(self, event: Any) -> None:
        """Show an event of the thread, which is no error."""
        raise NotImplementedError

    def _poll(self, thread: BackgroundThread) -> None:
        """Show the new events of a thread; called again while it runs."""
        while self.thread is thread:
            try:
                event = thread.events.get_nowait()
            except queue.Empty:
                self.window.layout.progress_bar.configure(value=thread.progress)
                self.window.root.after(POLL_INTERVAL, self._poll, thread)
                return
            if isinstance(event, UserError):
                self.end("Failed")
                raise event
            self.show(event)
