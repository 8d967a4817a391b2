"""Facts from outside that several tests hold the library to."""

# Weights and biases as their sources give them, or as anyone may count them by hand.
PARAMETERS = {
    "mlp_128_64_adam_10ep": 109_386,
    "mlp_128_64_sgd_15ep": 109_386,
    "mlp_512_256_adam_5ep": 535_818,
    "mlp_128_64_adam_200ep": 109_386,
    "mlp_128_64_32_adam_200ep": 111_146,
    "mlp_128_adam": 101_770,
}
