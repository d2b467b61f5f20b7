"""The columns of the evidence: a study's own, which its study.json names, and those of the first version."""

from dataclasses import asdict, dataclass
from typing import Literal

import pyarrow as pa

_ARROW = {"float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}


@dataclass(frozen=True)
class EvidenceColumn:
    """What a column holds, and where a reader meets it.

    Attributes:
        type: of its values; null where nothing was measured.
        title: of an axis or a table's column; without one it is shown only beside the column that it belongs to.
        question: of the erasure report, under which it stands; without one it is not in that report.
        never_seen: what the column holds for a network that never saw the forget subjects, in words.
        unit: `steps` for whole numbers that may be infinite; else nothing.
    """

    type: Literal["float", "bool", "str"] = "float"
    title: str = ""
    question: str = ""
    never_seen: str = ""
    unit: str = ""

    @property
    def arrow(self) -> pa.DataType:
        """The type in a table on disk."""
        return _ARROW[self.type]

    def plain(self) -> dict[str, str]:
        """Its fields that say something, for study.json."""
        return {name: value for name, value in asdict(self).items() if value}


STATE = "evidence"
"""The column that stands for the settings under which all others were measured."""

ATTACK = "Can an attack tell them from subjects it never saw? (AUC, 0.5: no)"
"""The question of the attacks over all subjects, which reports answer in an appendix."""

_RETRAINED = "Does it treat the forgotten like a retrained network?"
_RETURN = "Do they come back?"
_FAR = "How far is it from a retrained network?"
_AUCS = {
    "loss_auc": "Loss attack AUC",
    "dice_auc": "Dice attack AUC",
    "lira_auc": "LiRA attack AUC",
    "rmia_auc": "RMIA attack AUC",
    "pooled_auc": "Pooled loss attack AUC",
    "probe_auc": "Probe AUC",
}
_MEASURES = {
    "relearn_steps": EvidenceColumn("float", "Relearning steps", _RETURN, unit="steps"),
    "resurfaced_dice": EvidenceColumn("float", "Resurfaced Dice", _RETURN),
    "activation_distance": EvidenceColumn("float", "Activation distance", _FAR),
}
EVIDENCE: dict[str, EvidenceColumn] = {
    "retrained_low": EvidenceColumn("float", "", _RETRAINED),
    "retrained_high": EvidenceColumn("float", "", _RETRAINED),
    "remembers": EvidenceColumn("bool"),
    "over_forgets": EvidenceColumn("bool"),
    "equivalence_p": EvidenceColumn("float", "Equivalence p", _RETRAINED),
    **{name: EvidenceColumn("float", title, ATTACK) for name, title in _AUCS.items()},
    **{f"{name}{end}": EvidenceColumn() for name in _AUCS for end in ("_low", "_high")},
    **_MEASURES,
    **{f"{name}_retrained": EvidenceColumn("float", "", c.question, "", c.unit) for name, c in _MEASURES.items()},
    "subject_gap": EvidenceColumn("float", "Subject gap", _FAR),
    "class_gap": EvidenceColumn("float", "Class gap", _FAR),
    "streisand_p": EvidenceColumn("float", "Streisand p", "Does the forgetting itself show who was erased?"),
    "streisand": EvidenceColumn("bool"),
    STATE: EvidenceColumn("str"),
}
"""The columns of a study whose study.json names none, as version 0.1 wrote it."""
