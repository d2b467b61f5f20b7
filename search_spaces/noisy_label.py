"""Noisy Label: random labels for the forget subjects.

Source: arXiv 2606.16180, which searched 20 and 50 epochs; forget weights of 0.1 to 0.25 in arXiv 2402.00351.
Twelve trials reach a gap of 0.93 on hippocampus crops in 7 minutes on 2 cores, 0.53 on whole brains in 9
(benchmarks/README.md). On whole brains half-noisy labels hardly forget, so the rate starts at 0.6.
"""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Published, Space

SPACE = Space(
    strategy="noisy_label",
    domains={
        "noise_rate": FloatDistribution(0.6, 1.0),
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "forget_weight": FloatDistribution(0.1, 2.0, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"noise_rate": 1.0, "lr": 1e-3, "forget_weight": 1.0, "epochs": 20}],
    published=Published(0.7576, 0.0613, "arXiv 2606.16180, Noisy Label, 50 epochs, MRBrainS18"),
)
