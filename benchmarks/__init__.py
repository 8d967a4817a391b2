"""Benchmarks: `python -m benchmarks` from the top of the checkout. Not part of the library; nothing there imports this.

epoch                our loop beside the usual one
training_time        seconds of each recipe's training, and of a prediction
contention           an epoch beside a busy process
scaling              cost by digits and by width, and start-up times
compare_frameworks   whole trainings by other libraries in turn; `frameworks` has a function for each, `jax_epoch` JAX's
limit                what no training loop goes below
harness              what all share: runs in processes of their own, medians with their range, the file of results
plots                the figure of them all
"""
