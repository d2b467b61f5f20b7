"""Retain Label (learn others): the forget subjects are taught the label maps of retain subjects.

Source: arXiv 2606.16180, which keeps retention at 20 epochs and loses it by 50; forget weights of 0.1 to 0.25 in
arXiv 2402.00351. Pairs are drawn once or, with `resample`, in every epoch, in the words of studies of 0.1;
`--set 'resample=never|epoch|step'` searches all three. The source draws them in every step.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="retain_label",
    domains={
        "resample": CategoricalDistribution([False, True]),
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "forget_weight": FloatDistribution(0.1, 2.0, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"resample": False, "lr": 1e-3, "forget_weight": 1.0, "epochs": 20}],
)
