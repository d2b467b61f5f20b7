"""Mean label: the forget subjects are taught the retain subjects' mean label map, which is nobody's.

No published source; a lead of this project, which came to rest near networks that never saw them.
"""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="mean_label",
    domains={
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "forget_weight": FloatDistribution(0.1, 2.0, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"lr": 1e-3, "forget_weight": 1.0, "epochs": 20}],
)
