"""The Dice of each subject: what a user sees first."""

from trainables.evidence.measure import LEFT, Measure

MEASURE = Measure(lambda network, context: context.scores.dice, "Dice", question=LEFT, remembered="more")
