"""The `digits` command. What a command needs beyond its flags is imported when it runs, so that --help is immediate.

main            finds the command that was asked for and calls it
parser          the argument parser, flags that several commands share, exit statuses
train           train a network: the flags of mnist_recognition.py
train_pages     train the page reader
predict         reads images by `predict`, in this process or in others, and scores them
answers         what `predict` says of an image: a line, a row of a table, a figure
labelled_files  images by name, folder or pattern, and their labels
adapt           train a network on for one person's digits
models          evaluate and export a saved network
study           study, compare, verify, figures: many runs and their records
apps            predict, draw and serve: images read with a trained network
"""
