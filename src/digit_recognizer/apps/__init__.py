"""What people look at and touch: a window to draw in, and a web page."""
