"""Loss level: the forget subjects' loss is raised by so many nats a voxel, and no further.

No published source. How far is right is what networks that never saw the subjects would say: `--objective unseen` and
`--objective retrain` search it by what steers, and the evidence reports what does not. On hippocampi a baseline had
0.013 nats on its forget subjects and 0.043 on held-out ones, a retrained network 0.076 on the former.
"""

from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space(
    strategy="loss_level",
    domains={
        "level": FloatDistribution(0.003, 0.5, log=True),
        "lr": FloatDistribution(1e-4, 1e-3, log=True),
        "forget_weight": FloatDistribution(0.1, 2.0, log=True),
        "epochs": IntDistribution(5, 20),
    },
    first=[{"level": 0.05, "lr": 3e-4, "forget_weight": 1.0, "epochs": 10}],
)
