"""Noisy Label under forgetting schedules and a warm-up of the learning rate: the future work of arXiv 2606.16180."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="noisy_label",
    domains={
        "forget_schedule": CategoricalDistribution(["constant", "warmup", "cosine", "until_floor"]),
        "schedule_epochs": IntDistribution(2, 20),
        "lr_warmup": IntDistribution(0, 5),
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "forget_weight": FloatDistribution(0.1, 4.0, log=True),
        "epochs": IntDistribution(5, 20),
    },
    conditions={"schedule_epochs": {"forget_schedule": ["warmup", "cosine"]}},
    first=[{"forget_schedule": "constant", "lr_warmup": 0, "lr": 1e-3, "forget_weight": 1.0, "epochs": 20}],
)
