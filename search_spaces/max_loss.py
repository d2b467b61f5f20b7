"""Max Loss: gradient ascent on the forget subjects; it collapses within a few epochs at large weights.

Source: arXiv 2606.16180; forget weights of 0.1 to 0.25 in arXiv 2402.00351. The ceiling lies above log C
nats a voxel, the loss of a network that knows nothing: the range begins at 3.0, the log of 20 classes.
"""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="max_loss",
    domains={
        "ceiling": FloatDistribution(3.0, 20.0, log=True),
        "lr": FloatDistribution(3e-5, 1e-3, log=True),
        "forget_weight": FloatDistribution(0.01, 1.0, log=True),
        "epochs": IntDistribution(3, 20),
    },
    first=[{"ceiling": 10.0, "lr": 3e-4, "forget_weight": 0.1, "epochs": 20}],
)
