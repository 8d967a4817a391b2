"""Benchmarks: `python -m benchmarks`, at the top of the checkout. They are not part of the library.

epoch                an epoch of our loop beside the usual DataLoader loop; the lower bound of any loop
training_time        training time of all recipes but the longest, and time of a prediction
contention           an epoch beside a busy process
scaling              time and memory against the number of digits, time against the width, start-up times
frameworks           the same training by other libraries, one function each
reading_time         one digit, a large page, and many pictures by one process and by two
reading              how well pages, touching digits and empty paper are read; results/reading.json
gpu                  trainings, an epoch and predictions on a graphics card; results/gpu.json
trials               trials behind choices in the library, a module each
compare_frameworks   the libraries of frameworks in turn, each in a process of its own
harness              processes, medians, results/benchmark.json
plots                the figure of the results
"""
