"""What everything else stands on. Knows no recipe and no network.

device          device, threads and precision of a training
threads         how many threads a training takes, and how long they spin
distributed     several processes that train one network
files           files that are written whole or not at all
model_file      plain types and tensors in a file, inspected before they are read
provenance      versions, machine and commit behind a number; the hash of weights
text            numbers and tables as text; any text on one line
errors          UserError: one line about what the user can correct
packages        which optional packages a missing module belongs to
"""
