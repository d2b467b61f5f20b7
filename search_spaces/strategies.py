"""The paper's five beside what they must beat: fine-tuning, retraining, what lies between; with and without views.

The recipes of `paper`, and noise drawn anew in every step; then all of them once more, with every scan of a step
moved by up to 3 voxels, so that what is forgotten is not one array.
"""

from search_spaces.paper import SPACE as PAPER
from search_spaces.space import Entry, Suite

_RECIPES = (
    *PAPER.entries,
    Entry("noisy_label", {**PAPER.entries[0].knobs, "resample": "step"}),
    Entry("finetune", {"lr": 1e-3}),
    Entry("shrink_perturb", {"lr": 1e-3, "a": 0.5}),
    Entry("retrain", {"lr": 1e-3}),
)

SPACE = Suite((*_RECIPES, *(Entry(recipe.strategy, {**recipe.knobs, "augment": "shift"}) for recipe in _RECIPES)))
