"""From a picture to a digit with a calibrated confidence.

recognizer    Recognizer: pictures to Prediction and Number
prediction    Prediction, of one digit, and Number, of a page
page_reading  pages read by two networks: the page reader and the one of single digits
scores        what logits say: probabilities, and the score by which a picture is refused
calibration   temperature, rejection threshold and calibration error
adaptation    a network trained on for one person's digits: checks, comparison, advice
last_layer    its last layer, which learns, and the features of all images before it
table         the table of many pictures, as a CSV file
marks         how the digits of a page are marked where it is shown
plots         figures of how pictures were read, and of confidence
"""
