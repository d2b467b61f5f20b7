"""Random Encoder: the forget subjects' features become Gaussian noise.

Source: arXiv 2606.16180, which finds that it keeps retention and forgets little; arXiv 2402.00351.
"""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="random_encoder",
    domains={
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "forget_weight": FloatDistribution(0.05, 2.0, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"lr": 3e-4, "forget_weight": 0.25, "epochs": 20}],
)
