"""The drawings that look like another digit than their label says: shown after learning, to be corrected."""

import contextlib
import tkinter as tk
from collections.abc import Callable, Sequence
from pathlib import Path
from tkinter import ttk
from typing import NamedTuple

from digit_recognizer.apps.window.drawing import delete_drawing, relabel_drawing
from digit_recognizer.apps.window.widgets import PAPER, fit_photo
from digit_recognizer.preprocessing import image_io
from digit_recognizer.runtime.errors import UserError

COLUMNS, MOST = 5, 10  # drawings in a row, and at a time: what a small screen has room for


class Doubtful(NamedTuple):
    """A kept drawing, its label, and the digit that it looks like."""

    path: Path
    label: int
    looks_like: int


class Review(tk.Toplevel):
    """A window that shows these drawings; each may get the other label or be deleted. What is not touched stays.

    px: pixels of a length in 1/96 inch; on_change: called after a drawing was changed.
    """

    def __init__(
        self, root: tk.Tk, drawings: Sequence[Doubtful], px: Callable[[float], int], on_change: Callable[[], None]
    ) -> None:
        super().__init__(root, background=PAPER, padx=px(14), pady=px(12))
        self.withdraw()  # until it is complete
        self.title("Drawings that look wrong")
        self._px, self._on_change = px, on_change
        shown = drawings[:MOST]
        which = "" if len(shown) == len(drawings) else f" The first {MOST}:"
        what = "1 drawing looks" if len(drawings) == 1 else f"{len(drawings)} drawings look"
        text = f"{what} like another digit than you said. Those that stay so are not learned.{which}"
        ttk.Label(self, text=text, font="EmphasisFont", wraplength=px(600)).grid(columnspan=COLUMNS, sticky="w")
        for place, drawing in enumerate(shown):
            row, column = divmod(place, COLUMNS)
            self._cell(drawing).grid(row=1 + row, column=column, padx=px(5), pady=px(8), sticky="n")
        self.close_button = ttk.Button(self, text="Close", command=self.destroy)
        self.close_button.grid(columnspan=COLUMNS, sticky="e")
        self.bind("<Escape>", lambda event: self.destroy())
        self.transient(root)
        self.geometry(f"+{root.winfo_rootx() + px(40)}+{root.winfo_rooty() + px(20)}")
        self.deiconify()

    def _cell(self, drawing: Doubtful) -> ttk.Frame:
        """One drawing, what is said of it, and what can be done with it."""
        frame = ttk.Frame(self)
        picture = ttk.Label(frame)
        with contextlib.suppress(UserError):  # it was deleted since
            photo = fit_photo(image_io.read(drawing.path).image, self._px(80), self)
            picture.configure(image=photo)
            picture.photo = photo  # type: ignore[attr-defined]  # tkinter itself keeps no reference to it
        said = ttk.Label(frame, text=f"Kept as {drawing.label}\nLooks like {drawing.looks_like}")
        relabel = ttk.Button(frame, text=f"It is {drawing.looks_like}")
        delete = ttk.Button(frame, text="Delete")
        for widget in (picture, said, relabel, delete):
            widget.pack(fill="x", pady=(0, self._px(4)))

        def change(action: Callable[[], object], done: str) -> None:
            action()
            said.configure(text=done)
            for button in (relabel, delete):
                button.state(["disabled"])
            self._on_change()

        other = f"Now kept as {drawing.looks_like}\n"
        relabel.configure(command=lambda: change(lambda: relabel_drawing(drawing.path, drawing.looks_like), other))
        delete.configure(command=lambda: change(lambda: delete_drawing(drawing.path), "Deleted\n"))
        return frame
