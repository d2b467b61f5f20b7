"""NegGrad+ or gradient difference: descent on the retain and ascent on the forget subjects, of the same loss.

Source: Kurmanji et al. 2023, arXiv 2302.09880, section 5 (NegGrad+); Liu et al. 2022, arXiv 2203.12817.
"""

from trainables.mechanics.knobs import Share
from trainables.mechanics.labels import segment_retain, segmentation_ascent
from trainables.mechanics.strategy import Strategy


def gradient_difference(retain_weight: Share = 0.95) -> Strategy:
    """retain_weight * loss of the retain batch - (1 - retain_weight) * loss of the forget batch.

    Args:
        retain_weight: beta of NegGrad+; published: 0.95.
    """
    return Strategy(lambda step: retain_weight * segment_retain(step), segmentation_ascent, 1 - retain_weight)
