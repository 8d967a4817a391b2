"""The spread of each recipe's numbers over its seeds in results/, so that a single run can be held against it.

From `study.reproduction.spreads("results")`; a test compares them.
"""

from typing import NamedTuple


class Spread(NamedTuple):
    """A number over the seeds of a recipe on its data set; accuracies are fractions, losses nats per digit.

    low, high: the 95 % prediction interval of a single run.
    """

    mean: float
    std: float
    seeds: int
    low: float
    high: float

    def locate(self, value: float) -> str:
        """Whether a value lies "inside", "below" or "above" the interval of a single run."""
        return "below" if value < self.low else "above" if value > self.high else "inside"


SPREADS: dict[str, dict[str, Spread]] = {
    "mlp_512_256_adam_5ep": {
        "train_loss": Spread(0.03767, 0.00134, 30, 0.034884, 0.040456),
        "train_accuracy": Spread(0.987742, 0.000467, 30, 0.986771, 0.988713),
        "test_loss": Spread(0.082596, 0.009019, 30, 0.063846, 0.101346),
        "test_accuracy": Spread(0.977163, 0.002416, 30, 0.97214, 0.982186),
    },
    "mlp_128_64_adam_10ep": {"test_accuracy": Spread(0.976557, 0.00216, 30, 0.972066, 0.981047)},
    "mlp_128_64_adam_200ep": {"test_accuracy": Spread(0.97754, 0.001086, 10, 0.974962, 0.980118)},
    "mlp_128_64_32_adam_200ep": {"test_accuracy": Spread(0.9787, 0.00184, 10, 0.974334, 0.983066)},
    "mlp_128_adam": {"test_accuracy": Spread(0.975493, 0.001875, 30, 0.971594, 0.979392)},
    "mlp_best": {"test_accuracy": Spread(0.99453, 0.000298, 10, 0.993822, 0.995238)},
    "cnn_in_a_second": {"test_accuracy": Spread(0.9909, 0.000471, 10, 0.989782, 0.992018)},
    "cnn_in_seconds": {"test_accuracy": Spread(0.99169, 0.000679, 10, 0.990079, 0.993301)},
    "cnn_in_half_a_minute": {"test_accuracy": Spread(0.99637, 0.000291, 10, 0.99568, 0.99706)},
    "cnn_in_two_minutes": {"test_accuracy": Spread(0.99689, 0.000269, 10, 0.996253, 0.997527)},
    "cnn_best": {"test_accuracy": Spread(0.99711, 0.000285, 10, 0.996435, 0.997785)},
    "cnn_best_wide": {"test_accuracy": Spread(0.99755, 0.000255, 10, 0.996945, 0.998155)},
    "cnn_handwriting": {"test_accuracy": Spread(0.997167, 0.000231, 3, 0.996019, 0.998314)},
}
