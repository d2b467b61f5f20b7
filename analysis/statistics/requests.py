"""What deletion requests did to each other: the Dice of every set after every step."""

import pandas as pd

from study.records.reading import StudyData

METHODS = ("sequential", "one-shot", "retrained")
"""The networks after a step: unlearned one request after the other, all at once, and never trained on them."""


def requests_frame(study: StudyData) -> pd.DataFrame:
    """One row per step and method.

    Columns: `step`, `method`, `trial`, `retain_dice`, `retention`, `heldout_dice`, `forget_dice` (all requests so
    far) and `request_N_dice` for each request; NaN for those to come. The retain set is that of the whole study.
    """
    dice = study.requests[study.requests["metric"] == "dice"]
    order = {name: place for place, name in enumerate(METHODS)}
    wide = dice.pivot(index=["step", "method", "trial"], columns="set", values="value").reset_index()
    wide = wide.sort_values(
        ["step", "method"], key=lambda column: column.map(order) if column.name == "method" else column
    )
    baseline = study.references["baseline"]["retain_dice"]
    frame = wide[["step", "method", "trial"]].assign(
        retain_dice=wide["retain"],
        retention=wide["retain"] / baseline,
        heldout_dice=wide["heldout"],
        forget_dice=wide["forget"],
    )
    asked = sorted((name for name in wide.columns if name.startswith("request-")), key=lambda name: int(name[8:]))
    return frame.assign(**{f"request_{name[8:]}_dice": wide[name] for name in asked}).reset_index(drop=True)
