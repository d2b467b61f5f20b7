"""Fine-tuning on the retain subjects, with AdamW or the published SGD at learning rate 0.01.

Source: Kurmanji et al. 2023, arXiv 2302.09880, and Golatkar et al. 2020, arXiv 1911.04933 (SGD, 0.01).
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="finetune",
    domains={
        "optimizer": CategoricalDistribution(["adamw", "sgd"]),
        "lr": FloatDistribution(1e-4, 3e-2, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"optimizer": "sgd", "lr": 0.01, "epochs": 10}],
)
