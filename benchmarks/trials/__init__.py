"""Trials behind choices in the library, kept so that they can be repeated: `python -m benchmarks.trials.NAME`.

refusal_scores      which score of the shipped network tells digits from what is no digit
page_reading        what the constants of page reading do
refused_glyphs      what the glyphs are that are refused in rows of digits
number_confidence   which features tell how likely a number is right
best_network        what makes a single network good, one factor at a time
soft_labels         what probabilities of other networks are worth as labels
committees          what several of these networks read wrong together
long_epochs         how long an epoch of the longest recipes takes
handwriting         how trainings of the network for people's own digits read what they never saw
hands               how the network of single digits reads public hands
fixed_filters       a first layer that is computed once, for the quickest recipe
two_threads         what might help a training step on two threads
adapting            what the constants of learning one hand do; its hand is drawn by drawn_hand
"""
