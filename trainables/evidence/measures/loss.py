"""The cross-entropy of each subject, mean over its voxels: what the sharpest threshold attack looks at."""

from trainables.evidence.measure import LEFT, Measure

MEASURE = Measure(
    lambda network, context: context.scores.cross_entropy, "Loss", question=LEFT, remembered="less", scale="log"
)
