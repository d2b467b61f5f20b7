"""The mechanics as choices beside their knobs: the strategies of arXiv 2402.00351 and 2606.16180 are five points."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space

_ON_LABELS = ["noisy_labels", "retain_labels", "ascent", "mean_label", "loss_level"]
_ON_FEATURES = ["random_features", "noise_image", "retain_features", "feature_ascent"]

_LABELS = {"lr": 1e-3, "forget_weight": 1.0, "epochs": 20}
_FEATURES = {"lr": 3e-4, "epochs": 20}

SPACE = Space(
    strategy="mechanics",
    domains={
        "forget": CategoricalDistribution([*_ON_LABELS, *_ON_FEATURES]),
        "retain": CategoricalDistribution(["segment", "features"]),
        "moves": CategoricalDistribution(["all", "encoder", "decoder"]),
        "noise_rate": FloatDistribution(0.6, 1.0),
        "ceiling": FloatDistribution(3.0, 20.0, log=True),
        "level": FloatDistribution(0.003, 0.5, log=True),
        "image": CategoricalDistribution(["normal", "uniform", "constant"]),
        "lr": FloatDistribution(1e-4, 3e-3, log=True),
        "forget_weight": FloatDistribution(0.05, 2.0, log=True),
        "epochs": IntDistribution(5, 20),
    },
    conditions={
        "moves": {"forget": _ON_LABELS, "retain": ["segment"]},  # a term on features moves the encoder alone
        "noise_rate": {"forget": ["noisy_labels"]},
        "ceiling": {"forget": ["ascent", "feature_ascent"]},
        "level": {"forget": ["loss_level"]},
        "image": {"forget": ["noise_image"]},
    },
    first=[
        {"forget": "noisy_labels", "retain": "segment", "moves": "all", "noise_rate": 1.0, **_LABELS},
        {"forget": "retain_labels", "retain": "segment", "moves": "all", **_LABELS},
        {"forget": "ascent", "retain": "segment", "moves": "all", "ceiling": 10.0, **_FEATURES, "forget_weight": 0.1},
        {"forget": "random_features", "retain": "features", **_FEATURES, "forget_weight": 0.25},
        {"forget": "noise_image", "retain": "features", "image": "normal", **_FEATURES, "forget_weight": 1.0},
    ],
)
