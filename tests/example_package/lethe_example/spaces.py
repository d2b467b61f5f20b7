"""A search space: what a study tries of a strategy's knobs and of the recipe's."""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="to_background",
    domains={
        "pull": FloatDistribution(0.05, 2.0, log=True),
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "epochs": IntDistribution(5, 20),
    },
)
