"""Fix Decoder: the forget subjects' features become those of a noise image.

Source: arXiv 2606.16180, which finds it moderate at 20 epochs and unstable later; arXiv 2402.00351, whose noise image
is normal, uniform or constant.
"""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="fix_decoder",
    domains={
        "image": CategoricalDistribution(["normal", "uniform", "constant"]),
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "forget_weight": FloatDistribution(0.05, 2.0, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"image": "normal", "lr": 3e-4, "forget_weight": 1.0, "epochs": 20}],
)
