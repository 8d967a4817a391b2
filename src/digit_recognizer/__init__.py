"""Digit Recognizer: teaches, reproduces and surpasses five published MNIST projects.

To read it, begin with the story in `mnist_recognition.py` and then take the modules in this order:

    recipe        what a recipe is
    recipes       what is trained, by name: the five projects in `published`, `variants` of these, our own in `ladder`
    data          the digits: uint8 tensors, fixed splits, shuffled batches
    models        the networks; normalisation is their first layer
    augmentation  training digits changed as other hands and pens would
    devices       what a training computes on
    training      the loop
    processes     the same training in several processes, on one machine or more
    evaluation    scores, intervals, confusion
    plots         figures from arrays; `charts`, those that compare; `speed`, that of the benchmarks
    checkpoints   a trained network as a file, and back; `model_files`, what such files hold; `inspection`, may declare
    export        a trained network as a file for other programs
    records       a run as a small JSON file
    study         every seed of a recipe, one record each, on the cores of this machine or of a cluster, in `engines`
    folds         which of several recipes reads more of training digits that were held out
    verify        a record's run trained again: does the same come of it?
    answers       whether a published number is true; `departures`, what else it may depend on; `report`, as tables
    benchmark     our loop beside the usual one; `measurements`, what all benchmarks share
    peers         the same training by other libraries; `jax_epoch` is JAX's by hand, `limit` what no loop goes below,
                  `race` lets them run in turn
    stopwatch     seconds of each recipe's training and of a prediction; `crowd`, of an epoch beside a busy process;
                  `scaling`, how cost grows

Imports go downwards only; `tests/test_layers.py` draws the floors.
"""

import os

__version__ = "0.1.0"

# Must come before the first import of torch. OpenMP's threads spin while they wait, by default so long that a run
# beside another busy process becomes many times slower; this bounds it. Whoever set one of the two knows better.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
