"""NegGrad+: published retain weight 0.95 (Kurmanji et al. 2023, arXiv 2302.09880)."""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="gradient_difference",
    domains={
        "retain_weight": FloatDistribution(0.8, 0.999),
        "lr": FloatDistribution(3e-5, 1e-3, log=True),
        "epochs": IntDistribution(3, 20),
    },
    first=[{"retain_weight": 0.95, "lr": 3e-4, "epochs": 10}],
)
