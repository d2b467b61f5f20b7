"""The columns of the evidence."""

import pyarrow as pa

_AUCS = ("loss_auc", "dice_auc", "lira_auc", "rmia_auc", "pooled_auc", "probe_auc")
EVIDENCE: dict[str, pa.DataType] = {
    **dict.fromkeys(("retrained_low", "retrained_high"), pa.float64()),
    **dict.fromkeys(("remembers", "over_forgets", "streisand"), pa.bool_()),
    **dict.fromkeys(("streisand_p", "subject_gap", "class_gap", "equivalence_p"), pa.float64()),
    **dict.fromkeys((f"{name}{end}" for name in _AUCS for end in ("", "_low", "_high")), pa.float64()),
    **dict.fromkeys((f"relearn_steps{end}" for end in ("", "_retrained")), pa.float64()),
    **dict.fromkeys((f"resurfaced_dice{end}" for end in ("", "_retrained")), pa.float64()),
    **dict.fromkeys((f"activation_distance{end}" for end in ("", "_retrained")), pa.float64()),
    "evidence": pa.string(),
}
"""The evidence columns (docs/evidence.md), null where none was gathered; `evidence` stands for its settings."""
