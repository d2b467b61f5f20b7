"""Selective Synaptic Dampening: nothing is trained; published alpha 10 and lambda 1.

Source: Foster et al. 2024, arXiv 2308.07707, which searches alpha in [0.1, 100] and lambda in [0.1, 5]. No weight is
selected above alpha = (retain + forget) / forget scans: 4 where a fifth of the subjects is forgotten and a fifth held
out, so the range ends there. Where fewer are forgotten `--set selection=0.1..20` goes further.
"""

from optuna.distributions import FloatDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="ssd",
    domains={
        "selection": FloatDistribution(0.1, 4.0, log=True),
        "dampening": FloatDistribution(0.1, 5.0, log=True),
    },
    fixed={"epochs": 1},
    first=[{"selection": 1.0, "dampening": 1.0}],
)
