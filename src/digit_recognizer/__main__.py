"""python -m digit_recognizer: the same as the console script `digits`."""

from digit_recognizer.cli.main import start

if __name__ == "__main__":
    start()
