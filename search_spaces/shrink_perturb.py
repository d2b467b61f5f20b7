"""Shrink and perturb: one knob from fine-tuning (a = 1) to retraining (a = 0).

Source: Ash and Adams 2020, arXiv 1910.08475, whose code takes 0.4 of the trained weights and 0.1 of fresh ones.
On hippocampi a = 0.2 to 0.7 came to rest within 15 epochs where networks that never saw the forget subjects are.
"""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="shrink_perturb",
    domains={
        "a": FloatDistribution(0.1, 0.9),
        "lr": FloatDistribution(3e-4, 3e-3, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"a": 0.5, "lr": 1e-3, "epochs": 15}, {"a": 0.4, "lr": 1e-3, "epochs": 15}],
)
