"""Noisy Label through low-rank adapters on the convolutions; published rank 8, scale 32 / 8.

Source: Hu et al. 2022, arXiv 2106.09685. `--set lora_rank=8` gives adapters to any other space.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="noisy_label",
    domains={
        "lora_rank": CategoricalDistribution([2, 4, 8, 16]),
        "noise_rate": FloatDistribution(0.6, 1.0),
        "lr": FloatDistribution(3e-4, 1e-2, log=True),
        "forget_weight": FloatDistribution(0.1, 2.0, log=True),
        "epochs": IntDistribution(5, 20),
    },
    fixed={"lora_scale": 4.0},
    first=[{"lora_rank": 8, "noise_rate": 1.0, "lr": 1e-3, "forget_weight": 1.0, "epochs": 20}],
)
