"""The largest Dice of each subject under benign views of its scan.

Noisy labels are learned for one array at one place; one voxel aside the network may know the person as before.
"""

from trainables.evidence.measure import LEFT, Measure

MEASURE = Measure(
    lambda network, context: context.scores.dice_views, "Dice under views", question=LEFT, remembered="more"
)
