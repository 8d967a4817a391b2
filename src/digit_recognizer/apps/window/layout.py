"""Where everything stands in the drawing window, and how large: the same on small, large and scaled screens."""

import functools
import tkinter as tk
from collections.abc import Callable
from tkinter import font, ttk
from typing import Any

from digit_recognizer.apps.window import widgets
from digit_recognizer.apps.window.draw_pad import Pad
from digit_recognizer.apps.window.widgets import BLUE, GREY, PALE, PAPER, TEXT

RED = "#A61C00"
SMALL_SCREEN = (800, 560)  # pixels, at 96 to the inch, that must be enough; a title bar takes some of 600


def scale_of(root: tk.Tk) -> float:
    """Pixels in 1/96 inch, as the screen says; fewer where the window would be larger than the screen."""
    fits = min(root.winfo_screenwidth() / SMALL_SCREEN[0], root.winfo_screenheight() / SMALL_SCREEN[1])
    # Screens are measured in whole millimetres, and Apple's count 72 pixels to the inch.
    return min(max(1.0, round(root.winfo_fpixels("1i") / 96, 1)), fits)


def short(name: str) -> str:
    """A name that leaves room for others in its line."""
    return name if len(name) <= 30 else f"{name[:14]}…{name[-15:]}"


class Layout:
    """The widgets by name. act: what is called when they are used; see draw_actions.Window."""

    def __init__(self, root: tk.Tk, act: Any) -> None:
        self.root, self.scale = root, scale_of(root)
        self._style()
        frame = ttk.Frame(root, padding=self.px(10))
        frame.pack(fill="both", expand=True)
        frame.columnconfigure(0, weight=5)
        frame.columnconfigure(1, weight=1)
        frame.rowconfigure(1, weight=1)
        gap = self.px(8)
        self._top(frame, act).grid(row=0, column=0, columnspan=3, sticky="ew", pady=(0, gap))
        self._left(frame, act).grid(row=1, column=0, sticky="nsew")
        self._middle(frame).grid(row=1, column=1, sticky="nsew", padx=2 * gap)
        self._right(frame, act).grid(row=1, column=2, sticky="nsew")
        self._bottom(frame, act).grid(row=2, column=0, columnspan=3, sticky="ew", pady=gap)
        self.status = ttk.Label(frame, anchor="nw")
        self.status.grid(row=3, column=0, columnspan=3, sticky="new")
        frame.rowconfigure(3, minsize=2 * font.nametofont("TkDefaultFont", root=root).metrics("linespace"))
        self.status.bind("<Configure>", lambda event: self.status.configure(wraplength=event.width))
        self._sizes()

    def px(self, length: float) -> int:
        """Pixels of the screen for a length in 1/96 inch."""
        return round(length * self.scale)

    def say(self, text: str, wrong: bool = False) -> None:
        """Say something at the bottom of the window, in red where it is a mistake."""
        self.status.configure(text=text, foreground=RED if wrong else TEXT)

    def _style(self) -> None:
        root, size = self.root, 13
        family = font.nametofont("TkDefaultFont", root=root).actual("family")
        for name, pixels, bold in (
            ("TkDefaultFont", size, False),
            ("TkTextFont", size, False),
            ("TkMenuFont", size, False),
            ("TkHeadingFont", size, True),
            ("SmallFont", 11, False),
            ("EmphasisFont", size, True),
            ("DigitFont", 64, True),
        ):
            if name not in font.names(root):
                root.tk.call("font", "create", name, "-family", family)  # a Font object takes it away again
            font.nametofont(name, root=root).configure(size=-self.px(pixels), weight="bold" if bold else "normal")
        style = ttk.Style(root)
        if root.tk.call("tk", "windowingsystem") == "x11":
            style.theme_use("clam")  # the plainest of those there; other systems have their own
        root.configure(background=PAPER)
        style.configure(".", background=PAPER, foreground=TEXT)
        style.configure("TButton", width=0, padding=(self.px(10), self.px(4)))
        style.configure("Label.TButton", width=2, padding=(0, self.px(4)))
        style.configure("TProgressbar", background=BLUE, troughcolor=PALE, arrowsize=self.px(8))
        style.configure("TScale", background=PAPER, troughcolor=PALE, arrowsize=self.px(14), sliderlength=self.px(24))
        style.configure("Quiet.TLabel", foreground="#5A5A5A", font="SmallFont")
        style.configure("Digit.TLabel", font="DigitFont", foreground=BLUE)
        style.configure("NoDigit.TLabel", font="DigitFont", foreground=GREY)

    def _buttons(self, parent: tk.Misc, *buttons: tuple[str, Callable[[], None]]) -> list[ttk.Button]:
        made = [ttk.Button(parent, text=text, command=command) for text, command in buttons]
        for button in made:
            button.pack(side="left", padx=(0, self.px(6)))
        return made

    def _top(self, parent: tk.Misc, act: Any) -> ttk.Frame:
        frame = ttk.Frame(parent)
        _, _, self.keep = self._buttons(
            frame,
            ("Open image…", act.open_image),
            ("Load model…", act.load_model),
            ("Save model…", act.learning.save_model),
        )
        self.keep.state(["disabled"])  # until there is one that was trained here
        self.network = ttk.Label(frame, style="Quiet.TLabel")
        self.network.pack(side="left", padx=self.px(6))
        return frame

    def _left(self, parent: tk.Misc, act: Any) -> ttk.Frame:
        frame = ttk.Frame(parent)
        self.pad = Pad(frame, act.drawing, self.px(330), act.started, act.changed)
        row = ttk.Frame(frame)
        row.pack(side="bottom", fill="x", pady=(self.px(8), 0))
        self.pad.pack(fill="both", expand=True)  # last, so that it gives way where there is little room
        self._buttons(row, ("Predict", act.predict), ("Clear", act.clear), ("Undo", act.undo))
        ttk.Label(row, text="Brush").pack(side="left", padx=(self.px(4), self.px(4)))
        self.brush = ttk.Scale(row, from_=0.03, to=0.15, value=self.pad.brush, length=self.px(60))
        self.brush.configure(command=act.set_brush)
        self.brush.pack(side="left", fill="x", expand=True)
        return frame

    def _middle(self, parent: tk.Misc) -> ttk.Frame:
        frame = ttk.Frame(parent)
        answer = ttk.Frame(frame, height=self.px(100))
        answer.pack_propagate(False)  # whatever it says, the bars stay where they are
        answer.pack(fill="x")
        self.digit = ttk.Label(answer, text="–", style="NoDigit.TLabel")
        self.digit.pack(side="left", anchor="n", padx=(0, self.px(12)))
        self.says = ttk.Label(answer, font="EmphasisFont", wraplength=self.px(150))
        self.says.pack(anchor="w", pady=(self.px(14), 0))
        self.noticed = ttk.Label(answer, style="Quiet.TLabel", wraplength=self.px(150))
        self.noticed.pack(anchor="w")
        self.bars = widgets.Bars(frame, self.scale)
        self.bars.pack(fill="both", expand=True)
        return frame

    def _right(self, parent: tk.Misc, act: Any) -> ttk.Frame:
        frame = ttk.Frame(parent)
        self.seen = widgets.Seen(frame, self.scale)
        self.trained = ttk.Label(frame, style="Quiet.TLabel", wraplength=self.px(190), text="No training yet")
        self.curve = widgets.Curve(frame, self.scale)
        self.progress = ttk.Progressbar(frame, maximum=1.0)
        self.train = ttk.Button(frame, text="Train a new model", command=act.learning.train_or_stop)
        rows = (
            (ttk.Label(frame, text="What the network sees", font="EmphasisFont"), "w"),
            (self.seen, "nw"),
            (ttk.Frame(frame, height=self.px(5)), "w"),
            (ttk.Label(frame, text="Training accuracy", font="EmphasisFont"), "w"),
            (self.trained, "w"),
            (self.curve, "nsew"),
            (self.progress, "ew"),
            (self.train, "ew"),
        )
        for number, (widget, sticky) in enumerate(rows):
            widget.grid(row=number, column=0, sticky=sticky, pady=(0, self.px(5) if widget is not self.train else 0))
        frame.columnconfigure(0, weight=1)
        frame.rowconfigure(5, weight=1)
        return frame

    def _bottom(self, parent: tk.Misc, act: Any) -> ttk.Frame:
        frame = ttk.Frame(parent)
        ttk.Label(frame, text="Save drawing as a").pack(side="left", padx=(0, self.px(6)))
        self.labels = []
        for label in range(10):
            button = ttk.Button(
                frame, text=str(label), style="Label.TButton", command=functools.partial(act.save, label)
            )
            button.pack(side="left", padx=(0, self.px(2)))
            self.labels.append(button)
        ttk.Label(frame, text="to the folder").pack(side="left", padx=self.px(6))
        self.folder = ttk.Button(frame, command=act.choose_folder)
        self.folder.pack(side="left")
        return frame

    def _sizes(self) -> None:
        """As large as needed at least; larger at first where the screen has the room."""
        root = self.root
        root.update_idletasks()
        least = (root.winfo_reqwidth(), root.winfo_reqheight())
        root.minsize(*least)
        room = (root.winfo_screenwidth() - least[0], root.winfo_screenheight() - least[1] - self.px(60))
        more = max(0, min(*room, self.px(120)))
        root.geometry(f"{least[0] + more}x{least[1] + more}")
