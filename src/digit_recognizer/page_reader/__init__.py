"""Find digits anywhere in a picture: a network that is trained on synthetic pages, and the rows that its findings make.

network      PageNet: from a picture to maps of centres, classes and sizes
training     targets, loss and loop
checkpoints  a trained PageNet as a file
measurement  how well digits are found on synthetic pages; the record of a training
detection    a pyramid of resolutions, peaks of the maps, one glyph for each
rows         which glyphs stand in a row, and which make a number
"""
