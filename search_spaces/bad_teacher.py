"""Bad Teacher: published learning rate 1e-4 and temperature 1 (Chundawat et al. 2023, arXiv 2205.08096)."""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="bad_teacher",
    domains={
        "temperature": FloatDistribution(1.0, 4.0),
        "lr": FloatDistribution(3e-5, 3e-3, log=True),
        "forget_weight": FloatDistribution(0.1, 2.0, log=True),
        "epochs": IntDistribution(3, 20),
    },
    first=[{"temperature": 1.0, "lr": 1e-4, "forget_weight": 1.0, "epochs": 10}],
)
