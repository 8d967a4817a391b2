"""Numbers in words that people read."""


def percent(fraction: float) -> str:
    """A percentage that never rounds to a certainty it is not. fraction: 0 to 1.

    >>> percent(0.9996), percent(0.5), percent(0.0004)
    ('>99.9%', '50.0%', '<0.1%')
    """
    return ">99.9%" if fraction > 0.999 else "<0.1%" if fraction < 0.001 else f"{fraction:.1%}"
