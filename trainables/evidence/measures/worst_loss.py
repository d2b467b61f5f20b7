"""The cross-entropy of each subject over the tenth of its voxels where it is largest.

Attacks on segmentation read maps of the loss, not its mean (arXiv 1912.09685, 2212.01082).
"""

from trainables.evidence.measure import LEFT, Measure

MEASURE = Measure(
    lambda network, context: context.scores.worst_cross_entropy,
    "Loss of the worst tenth",
    question=LEFT,
    remembered="less",
    scale="log",
)
