"""SCRUB: published lr 5e-4, gamma 0.99 to 1, alpha 0.001 to 0.5, 2 or 3 epochs of max steps, 3 to 10 epochs in all.

Source: Kurmanji et al. 2023, arXiv 2302.09880, and its code (github.com/meghdadk/SCRUB): SGD with momentum 0.9 and
weight decay 5e-4, temperature 2 or 4, the learning rate at a tenth after epochs 5, 8 and 9, or 3, 5 and 9.
`--set rewind=true --objective unseen` is SCRUB+R, the authors' choice where membership is attacked.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="scrub",
    domains={
        "alpha": FloatDistribution(0.001, 1.0, log=True),
        "gamma": FloatDistribution(0.5, 1.0),
        "max_epochs": IntDistribution(1, 5),
        "lr_decay": CategoricalDistribution(["", "3/5/9", "5/8/9"]),
        "lr": FloatDistribution(1e-4, 2e-3, log=True),
        "epochs": IntDistribution(3, 20),
    },
    first=[
        {"alpha": 0.5, "gamma": 0.99, "max_epochs": 3, "lr_decay": "5/8/9", "lr": 5e-4, "epochs": 10},
        {"alpha": 0.001, "gamma": 0.99, "max_epochs": 2, "lr_decay": "3/5/9", "lr": 5e-4, "epochs": 3},
    ],
)
