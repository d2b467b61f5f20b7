"""EU-k: the last k stages learn again from nothing (Goel et al. 2022, arXiv 2201.06640)."""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="exact_k",
    domains={
        "k": IntDistribution(1, 5),
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "epochs": IntDistribution(10, 40),
    },
    first=[{"k": 1, "lr": 1e-3, "epochs": 20}],
)
