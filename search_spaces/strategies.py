"""The paper's five beside what they must beat: fine-tuning, retraining, what lies between, and noise under views.

The recipes of `paper`, and `noisy_label` once more as it forgets under views too: shifts, and noise drawn anew in
every step.
"""

from search_spaces.paper import SPACE as PAPER
from search_spaces.space import Entry, Suite

SPACE = Suite(
    entries=(
        *PAPER.entries,
        Entry("noisy_label", {**PAPER.entries[0].knobs, "resample": "step", "augment": "shift"}),
        Entry("finetune", {"lr": 1e-3}),
        Entry("shrink_perturb", {"lr": 1e-3, "a": 0.5}),
        Entry("retrain", {"lr": 1e-3}),
    ),
)
