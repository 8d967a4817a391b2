"""Trials behind choices in the library, kept so that they can be repeated.

refusal_scores   which score of the shipped network tells digits from what is no digit
page_reading     what the constants of page reading do
best_network     what makes a single network good, one factor at a time
committees       what several of these networks read wrong together
handwriting      how trainings of the network for people's own digits read what they never saw
hands            how the network of single digits reads public hands
fixed_filters    a first layer that is computed once, for the quickest recipe
two_threads      what might help a training step on two threads
adapting         what the constants of learning one hand do
drawn_hand       a hand that the shipped network does not read, drawn
"""
