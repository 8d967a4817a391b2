"""The layout of the window: places, fonts and sizes, in proportion on small, large and scaled screens."""

import functools
import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import font, ttk
from typing import TYPE_CHECKING

from digit_recognizer.apps.window import widgets
from digit_recognizer.apps.window.widgets import BLUE, GREY, PALE, PAPER, TEXT

if TYPE_CHECKING:
    from digit_recognizer.apps.window.window import Window

RED = "#A61C00"
SEEN = "What the network sees"
MAX_NUMBER = 8  # characters that fit in a line of large letters
MAX_LINES, MAX_LONG_NUMBER = 3, 60  # of small letters, and the characters that fit in them
SMALL_SCREEN = (800, 560)  # the smallest supported, in 1/96 inch; a title bar takes some of 600


def screen_scale(root: tk.Tk) -> float:
    """Return the pixels in 1/96 inch; fewer where the window would be larger than the screen."""
    largest = min(root.winfo_screenwidth() / SMALL_SCREEN[0], root.winfo_screenheight() / SMALL_SCREEN[1])
    # Rounded, since screens report whole millimetres; at least 1, since Apple's report 72 pixels to the inch.
    return min(max(1.0, round(root.winfo_fpixels("1i") / 96, 1)), largest)


def shorten(name: str, most: int = 30) -> str:
    """Return a name with at most that many characters, an even number, shortened in the middle."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


class Layout:
    """The widgets by name. actions: the window, whose methods they call."""

    def __init__(self, root: tk.Tk, actions: "Window") -> None:
        self.root, self.scale = root, screen_scale(root)
        self._configure_styles()
        frame = ttk.Frame(root, padding=self.px(10))
        frame.pack(fill="both", expand=True)
        frame.columnconfigure(0, weight=5)
        frame.columnconfigure(1, weight=1)
        frame.rowconfigure(1, weight=1)
        gap = self.px(8)
        self._make_toolbar(frame, actions).grid(row=0, column=0, columnspan=3, sticky="ew", pady=(0, gap))
        self._make_drawing_column(frame, actions).grid(row=1, column=0, sticky="nsew")
        self._make_prediction_column(frame).grid(row=1, column=1, sticky="nsew", padx=2 * gap)
        self._make_training_column(frame, actions).grid(row=1, column=2, sticky="nsew")
        self._make_hand_row(frame, actions).grid(row=2, column=0, columnspan=3, sticky="ew", pady=gap)
        self.status_label = ttk.Label(frame, anchor="nw")
        self.status_label.grid(row=3, column=0, columnspan=3, sticky="new")
        frame.rowconfigure(3, minsize=2 * font.nametofont("TkDefaultFont", root=root).metrics("linespace"))
        self.status_label.bind("<Configure>", lambda event: self.status_label.configure(wraplength=event.width))
        self._set_window_size()

    def px(self, length: float) -> int:
        """Return the pixels of a length in 1/96 inch."""
        return round(length * self.scale)

    def set_status(self, text: str, error: bool = False) -> None:
        """Show a message at the bottom of the window, an error in red."""
        self.status_label.configure(text=text, foreground=RED if error else TEXT)

    def show_digit(self, text: str, style: str) -> None:
        """Show a digit, or a sign that there is none, large and to the left of its confidence."""
        self.digit_label.configure(text=text, style=style)
        self.digit_label.pack_configure(side="left", anchor="n", pady=0)
        self.confidence_label.configure(wraplength=self.px(150))
        self.confidence_label.pack_configure(pady=(self.px(14), 0))
        self.seen_label.configure(text=SEEN)

    def show_number(self, lines: Sequence[str], place: int) -> None:
        """Show rows of numbers above their confidence. place: from 1, of the digit whose bars and pixels are shown."""
        text = ("\n" if len(lines) <= MAX_LINES else " / ").join(lines)
        is_short = len(lines) == 1 and len(text) <= MAX_NUMBER
        text = text if len(text) <= MAX_LONG_NUMBER else f"{text[: MAX_LONG_NUMBER - 1]}…"
        self.digit_label.configure(text=text, style="Number.TLabel" if is_short else "LongNumber.TLabel")
        self.digit_label.pack_configure(side="top", anchor="w", pady=(0, self.px(2)))
        self.confidence_label.configure(wraplength=self.px(180))
        self.confidence_label.pack_configure(pady=0)
        self.seen_label.configure(text=f"{SEEN} of #{place}")

    def _configure_styles(self) -> None:
        root, size = self.root, 13
        family = font.nametofont("TkDefaultFont", root=root).actual("family")
        for name, pixels, bold in (
            ("TkDefaultFont", size, False),
            ("TkTextFont", size, False),
            ("TkMenuFont", size, False),
            ("TkHeadingFont", size, True),
            ("SmallFont", 11, False),
            ("EmphasisFont", size, True),
            ("NumberFont", 30, True),
            ("DigitFont", 64, True),
        ):
            if name not in font.names(root):
                root.tk.call("font", "create", name, "-family", family)  # a Font object would delete it at its own end
            font.nametofont(name, root=root).configure(size=-self.px(pixels), weight="bold" if bold else "normal")
        style = ttk.Style(root)
        if root.tk.call("tk", "windowingsystem") == "x11":
            style.theme_use("clam")  # other systems have a native theme
        root.configure(background=PAPER)
        style.configure(".", background=PAPER, foreground=TEXT)
        style.configure("TButton", width=0, padding=(self.px(10), self.px(4)))
        style.configure("Label.TButton", width=2, padding=(0, self.px(4)))
        style.configure("TProgressbar", background=BLUE, troughcolor=PALE, arrowsize=self.px(8))
        style.configure("TScale", background=PAPER, troughcolor=PALE, arrowsize=self.px(14), sliderlength=self.px(24))
        style.configure("Quiet.TLabel", foreground="#5A5A5A", font="SmallFont")
        style.configure("Digit.TLabel", font="DigitFont", foreground=BLUE)
        style.configure("Number.TLabel", font="NumberFont", foreground=BLUE)
        style.configure("LongNumber.TLabel", font="EmphasisFont", foreground=BLUE)
        style.configure("NoDigit.TLabel", font="DigitFont", foreground=GREY)

    def _buttons(self, parent: tk.Misc, *buttons: tuple[str, Callable[[], None]]) -> list[ttk.Button]:
        made = [ttk.Button(parent, text=text, command=command) for text, command in buttons]
        for button in made:
            button.pack(side="left", padx=(0, self.px(6)))
        return made

    def _make_toolbar(self, parent: tk.Misc, actions: "Window") -> ttk.Frame:
        frame = ttk.Frame(parent)
        _, _, self.save_model_button = self._buttons(
            frame,
            ("Open image…", actions.open_image),
            ("Load model…", actions.load_model),
            ("Save model…", actions.training.save),
        )
        self.save_model_button.state(["disabled"])  # until one was trained here
        self.model_label = ttk.Label(frame, style="Quiet.TLabel")
        self.model_label.pack(side="left", padx=self.px(6))
        return frame

    def _make_drawing_column(self, parent: tk.Misc, actions: "Window") -> ttk.Frame:
        frame = ttk.Frame(parent)
        callbacks = (actions.show_hint, actions.schedule_prediction)
        self.pad = widgets.DrawingPad(frame, actions.drawing, self.px(330), *callbacks)
        row = ttk.Frame(frame)
        row.pack(side="bottom", fill="x", pady=(self.px(8), 0))
        self.pad.pack(fill="both", expand=True)  # packed last: it shrinks where there is little room
        self._buttons(row, ("Predict", actions.predict), ("Clear", actions.clear), ("Undo", actions.undo))
        ttk.Label(row, text="Brush").pack(side="left", padx=(self.px(4), self.px(4)))
        self.brush_scale = ttk.Scale(row, from_=0.03, to=0.15, variable=self.pad.brush_width, length=self.px(60))
        self.brush_scale.pack(side="left", fill="x", expand=True)
        return frame

    def _make_prediction_column(self, parent: tk.Misc) -> ttk.Frame:
        frame = ttk.Frame(parent)
        answer = ttk.Frame(frame, height=self.px(100))
        answer.pack_propagate(False)  # the bars keep their place, whatever stands above
        answer.pack(fill="x")
        self.digit_label = ttk.Label(answer, text="–", style="NoDigit.TLabel", wraplength=self.px(180))
        self.digit_label.pack(side="left", anchor="n", padx=(0, self.px(12)))
        self.confidence_label = ttk.Label(answer, font="EmphasisFont", wraplength=self.px(150))
        self.confidence_label.pack(anchor="w", pady=(self.px(14), 0))
        self.warnings_label = ttk.Label(answer, style="Quiet.TLabel", wraplength=self.px(150))
        self.warnings_label.pack(anchor="w")
        self.bars = widgets.ProbabilityBars(frame, self.scale)
        self.bars.pack(fill="both", expand=True)
        return frame

    def _make_training_column(self, parent: tk.Misc, actions: "Window") -> ttk.Frame:
        frame = ttk.Frame(parent)
        self.seen_label = ttk.Label(frame, text=SEEN, font="EmphasisFont")
        self.network_input = widgets.NetworkInput(frame, self.scale)
        self.training_label = ttk.Label(frame, style="Quiet.TLabel", wraplength=self.px(190), text="No training yet")
        self.curve = widgets.TrainingCurve(frame, self.scale)
        self.progress_bar = ttk.Progressbar(frame, maximum=1.0)
        self.train_button = ttk.Button(frame, text="Train a new model", command=actions.training.start_or_stop)
        rows = (
            (self.seen_label, "w"),
            (self.network_input, "nw"),
            (ttk.Frame(frame, height=self.px(5)), "w"),
            (ttk.Label(frame, text="Training accuracy", font="EmphasisFont"), "w"),
            (self.training_label, "w"),
            (self.curve, "nsew"),
            (self.progress_bar, "ew"),
            (self.train_button, "ew"),
        )
        for number, (widget, sticky) in enumerate(rows, 1):
            widget.grid(row=number, column=0, sticky=sticky, pady=(0, self.px(5) if number < len(rows) else 0))
        frame.columnconfigure(0, weight=1)
        frame.rowconfigure(6, weight=1)
        return frame

    def _make_hand_row(self, parent: tk.Misc, actions: "Window") -> ttk.Frame:
        frame = ttk.Frame(parent)
        ttk.Label(frame, text="Right answer").pack(side="left", padx=(0, self.px(6)))
        self.label_buttons = []
        for label in range(10):
            correct = functools.partial(actions.correct, label)
            button = ttk.Button(frame, text=str(label), style="Label.TButton", command=correct)
            button.pack(side="left", padx=(0, self.px(2)))
            self.label_buttons.append(button)
        ttk.Label(frame, text="in").pack(side="left", padx=self.px(6))
        self.folder_button = ttk.Button(frame, command=actions.choose_folder)
        self.folder_button.pack(side="left", padx=(0, self.px(10)))
        hand = (("Learn my hand", actions.hand.start_or_stop), ("Forget", actions.hand.forget))
        self.learn_button, self.forget_button = self._buttons(frame, *hand)
        return frame

    def _set_window_size(self) -> None:
        """Set the minimum size, and a larger first size where the screen has room for it."""
        root = self.root
        root.update_idletasks()
        minimum = (root.winfo_reqwidth(), root.winfo_reqheight())
        root.minsize(*minimum)
        room = (root.winfo_screenwidth() - minimum[0], root.winfo_screenheight() - minimum[1] - self.px(60))
        extra = max(0, min(*room, self.px(120)))
        root.geometry(f"{minimum[0] + extra}x{minimum[1] + extra}")
