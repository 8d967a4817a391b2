"""Find digits anywhere in a picture: a network that is trained on synthetic pages, and the rows that its findings make.

maps         what PageNet returns of a picture
network      PageNet: from a picture to maps of centres, classes and sizes
training     targets, loss and loop
checkpoints  a trained PageNet as a file
export       a trained PageNet as an ONNX file, which the package reads with
reader       the one in the package
measurement  how well digits are found on synthetic pages; the record of a training
detection    a pyramid of resolutions, peaks of the maps, one glyph for each
rows         which glyphs stand in a row, and which make a number
"""
