"""The paper's table: its five strategies at fixed hyperparameters, after 20 and 50 epochs.

Source: arXiv 2606.16180. It does not print its hyperparameters; these are ours, one for all that is shared, and the
forget weights are those of docs/science.md.
"""

from search_spaces.space import Entry, Published, Suite

SPACE = Suite(
    entries=(
        Entry(
            "noisy_label",
            {"lr": 1e-3, "noise_rate": 1.0, "forget_weight": 1.0},
            {50: Published(0.7576, 0.0613, "arXiv 2606.16180, MRBrainS18")},
        ),
        Entry("retain_label", {"lr": 1e-3, "forget_weight": 1.0}),
        Entry("max_loss", {"lr": 3e-4, "forget_weight": 0.1}),
        Entry("random_encoder", {"lr": 3e-4, "forget_weight": 0.25}),
        Entry("fix_decoder", {"lr": 3e-4, "forget_weight": 1.0}),
    ),
)
