"""CF-k: the last k stages are fine-tuned on the retain subjects (Goel et al. 2022, arXiv 2201.06640)."""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="cf_k",
    domains={
        "k": IntDistribution(1, 5),
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"k": 1, "lr": 1e-3, "epochs": 10}],
)
