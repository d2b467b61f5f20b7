"""SCRUB: published lr 5e-4, gamma 0.99, alpha 0.5, 2 or 3 epochs of max steps (Kurmanji et al., arXiv 2302.09880)."""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="scrub",
    domains={
        "alpha": FloatDistribution(0.001, 1.0, log=True),
        "gamma": FloatDistribution(0.5, 1.0),
        "max_epochs": IntDistribution(1, 5),
        "lr": FloatDistribution(1e-4, 2e-3, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"alpha": 0.5, "gamma": 0.99, "max_epochs": 2, "lr": 5e-4, "epochs": 10}],
)
