"""The digits, where they come from, and how training changes them.

digits          whole sets in memory as uint8, fixed splits, shuffled batches
test_sets       what networks are tested on: test digits, undisputed ones, public hands
damage          training digits with light, noise, lines and the like over them
corruptions     test digits damaged in the fifteen ways of MNIST-C
sources         the files of each data set, read, checked and split
download        downloads with pooch, one process at a time
augmentation    random changes of training digits, a batch at a time
strokes         strokes drawn into a batch: flags, feet, bars, slashes, hooks, scribbles, blobs
outliers        images without a digit, added to each batch
pages           synthetic pages: digits in rows, among what is to be left alone
writing         the writing on these pages: glyphs, pens, rows
paper           the paper of these pages, its light, and what a camera makes of it
"""

from digit_recognizer.data.digits import (
    TEST_SETS,
    TITLES,
    Digits,
    Split,
    batches,
    load,
    load_from_disk,
    root_of,
    to_pixels,
)

__all__ = ["TEST_SETS", "TITLES", "Digits", "Split", "batches", "load", "load_from_disk", "root_of", "to_pixels"]
