"""The smallest cross-entropy of each subject under benign views of its scan."""

from trainables.evidence.measure import LEFT, Measure

MEASURE = Measure(
    lambda network, context: context.scores.cross_entropy_views,
    "Loss under views",
    question=LEFT,
    remembered="less",
    scale="log",
)
