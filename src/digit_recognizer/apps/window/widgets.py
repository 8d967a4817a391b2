"""What the window shows of an answer and of a training: bars, the 28x28 pixels, the curve. One pixel is 1/96 inch."""

import tkinter as tk
from tkinter import font
from typing import Any

import numpy as np

from digit_recognizer.runtime.text import percent

BLUE, GREY, PALE, TEXT, PAPER = "#0072B2", "#A6A6A6", "#E3E3E3", "#222222", "#FAFAFA"


class Bars(tk.Canvas):
    """Ten bars, one a digit, the likeliest in blue where there is a digit."""

    def __init__(self, parent: tk.Misc, scale: float) -> None:
        super().__init__(parent, width=200 * scale, height=230 * scale, background=PAPER, highlightthickness=0)
        self._scale = scale
        self.show((0.0,) * 10, None)
        self.bind("<Configure>", lambda event: self._draw())

    def show(self, probabilities: tuple[float, ...], winner: int | None) -> None:
        """Show ten probabilities, 0 to 1."""
        self._probabilities, self._winner = probabilities, winner
        self._draw()

    def _draw(self) -> None:
        self.delete("all")
        row = self.winfo_height() / 10
        half = min(row / 2 - 2 * self._scale, 12 * self._scale)  # of a bar's height
        left, right = 22 * self._scale, self.winfo_width() - 62 * self._scale
        for digit, probability in enumerate(self._probabilities):
            chosen = digit == self._winner
            middle = row * (digit + 0.5)
            style = "EmphasisFont" if chosen else "TkDefaultFont"
            self.create_text(left - 8 * self._scale, middle, text=digit, anchor="e", fill=TEXT, font=style)
            self.create_rectangle(left, middle - half, right, middle + half, fill=PALE, width=0)
            end = left + (right - left) * probability
            if end - left >= 1:
                self.create_rectangle(left, middle - half, end, middle + half, fill=BLUE if chosen else GREY, width=0)
            text = percent(probability) if any(self._probabilities) else ""
            self.create_text(self.winfo_width(), middle, text=text, anchor="e", fill=TEXT, font=style)


class Seen(tk.Canvas):
    """The 28x28 pixels that the network sees, enlarged."""

    def __init__(self, parent: tk.Misc, scale: float) -> None:
        self._factor = max(1, round(5 * scale))
        side = 28 * self._factor
        super().__init__(parent, width=side, height=side, background="black", highlightthickness=0)

    def show(self, image: np.ndarray) -> None:
        """Show uint8 (28, 28), ink bright."""
        small = tk.PhotoImage(master=self, data=b"P5 28 28 255\n" + image.tobytes(), format="PPM")
        self._shown = small.zoom(self._factor)  # tkinter itself keeps no reference to it
        self.delete("all")
        self.create_image(0, 0, image=self._shown, anchor="nw")


class Curve(tk.Canvas):
    """The running training accuracy after each epoch, as far as the training has come."""

    def __init__(self, parent: tk.Misc, scale: float) -> None:
        super().__init__(parent, width=190 * scale, height=95 * scale, background="white", highlightthickness=1)
        self.configure(highlightbackground=PALE)
        self._scale = scale
        self.show(10, [])
        self.bind("<Configure>", lambda event: self._draw())

    def show(self, epochs: int, history: list[dict[str, Any]]) -> None:
        """Show the rows of a history of that many epochs."""
        self._epochs, self._history = epochs, list(history)
        self._draw()

    def _draw(self) -> None:
        self.delete("all")
        small, line = "SmallFont", font.nametofont("SmallFont", root=self).metrics("linespace")
        left = font.nametofont(small, root=self).measure("100 %") + 10 * self._scale
        right, top = self.winfo_width() - 12 * self._scale, line / 2 + 4 * self._scale
        bottom = self.winfo_height() - line - 6 * self._scale
        accuracies = [row["train_accuracy"] for row in self._history]
        low = min([0.9, *(int(accuracy * 10) / 10 for accuracy in accuracies)])

        def place(epoch: int, accuracy: float) -> tuple[float, float]:
            across = (epoch - 1) / max(1, self._epochs - 1)
            return left + (right - left) * across, bottom - (bottom - top) * (accuracy - low) / (1 - low)

        for accuracy in (low, (1 + low) / 2, 1.0):
            across, down = place(1, accuracy)
            self.create_line(across, down, right, down, fill=PALE)
            self.create_text(across - 5 * self._scale, down, text=f"{accuracy:.0%}", anchor="e", font=small, fill=TEXT)
        for epoch in (1, self._epochs):
            across, down = place(epoch, low)
            self.create_text(across, down + 3 * self._scale, text=epoch, anchor="n", font=small, fill=TEXT)
        self.create_text((left + right) / 2, bottom + 3 * self._scale, text="epoch", anchor="n", font=small, fill=TEXT)
        places = [place(row["epoch"], row["train_accuracy"]) for row in self._history]
        if len(places) > 1:
            self.create_line(places, fill=BLUE, width=2 * self._scale)
        dot = 3 * self._scale
        for across, down in places:
            self.create_oval(across - dot, down - dot, across + dot, down + dot, fill=BLUE, outline="")
