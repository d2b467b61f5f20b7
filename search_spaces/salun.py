"""SalUn: random labels on the half of the weights with the largest gradients (Fan et al. 2024, arXiv 2310.12508)."""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="salun",
    domains={
        "saliency": FloatDistribution(0.1, 0.9),
        "noise_rate": FloatDistribution(0.6, 1.0),
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "forget_weight": FloatDistribution(0.1, 2.0, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"saliency": 0.5, "noise_rate": 1.0, "lr": 1e-3, "forget_weight": 1.0, "epochs": 10}],
)
