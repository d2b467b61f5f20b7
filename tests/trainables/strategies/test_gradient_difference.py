"""NegGrad+: one loss, up on the forget batch and down on the retain batch."""

import pytest
from monai.losses import DiceCELoss

from trainables.cohorts.cohort import IGNORED
from trainables.strategies.gradient_difference import gradient_difference


@pytest.mark.parametrize("retain_weight", [0.5, 0.95])
def test_the_two_losses_are_weighed_against_each_other(step, retain_weight):
    now, strategy = step(forget=(3, 9)), gradient_difference(retain_weight)
    for batch in (now.retain, now.forget):
        batch.labels[batch.labels == IGNORED] = 0  # MONAI knows no ignored voxels
    loss = strategy.retain(now) + strategy.forget_weight * strategy.forget(now)
    dice_ce = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, smooth_nr=1e-5, smooth_dr=1e-5)
    retain, forget = (
        dice_ce(logits, batch.labels[:, None].long()).item()
        for logits, batch in ((now.retain_logits, now.retain), (now.forget_logits, now.forget))
    )
    assert loss.item() == pytest.approx(retain_weight * retain - (1 - retain_weight) * forget, abs=1e-6)
