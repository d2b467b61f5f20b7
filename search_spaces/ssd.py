"""Selective Synaptic Dampening: nothing is trained; published alpha 10 and lambda 1.

Source: Foster et al. 2024, arXiv 2308.07707, which searches alpha in [0.1, 100] and lambda in [0.1, 5]. With a fifth
of the scans to forget no weight is selected above alpha 5, so the range ends at 10.
"""

from optuna.distributions import FloatDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="ssd",
    domains={
        "selection": FloatDistribution(0.1, 10.0, log=True),
        "dampening": FloatDistribution(0.1, 5.0, log=True),
    },
    fixed={"epochs": 1},
    first=[{"selection": 10.0, "dampening": 1.0}],
)
