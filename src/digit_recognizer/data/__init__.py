"""The digits, where they come from, and how training changes them.

digits          whole sets in memory as uint8, fixed splits, shuffled batches
sources         the files of each data set, read and checked
download        fetching them, whole or not at all
augmentation    training digits as other hands and pens might have written them, a batch at a time
strokes         strokes drawn into a batch: flags, feet, bars, scribbles
outliers        images without a digit, made up beside each batch
"""

from digit_recognizer.data.digits import TITLES, Digits, Split, batches, load, root_of, to_pixels

__all__ = ["TITLES", "Digits", "Split", "batches", "load", "root_of", "to_pixels"]
