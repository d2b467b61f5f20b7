"""What steers the search and what the evidence reports: not the same, where there is enough to tell them apart."""

from study.planning.plan import Plan
from study.records.references import RETRAINED, retrained_names
from study.records.study_record import Selection


def selection(plan: Plan) -> Selection:
    """Only what the objective looks at steers: a retrained reference, held-out subjects, or neither."""
    retrained = retrained_names(plan.settings.references)
    further = tuple(name for name in retrained if name != RETRAINED)
    by_reference, by_heldout = (plan.objective.steered_by == what for what in ("retrained", "heldout"))
    warnings = []
    steering_references = (RETRAINED,) if by_reference else ()
    report_references = further if by_reference and further else retrained
    steering_heldout = plan.split.steering if plan.split.steering else plan.split.heldout
    if by_reference and not further:
        warnings.append(
            "OPTIMISTIC: the one retrained reference both steers the search and is what the evidence compares with;"
            " give --references 3"
        )
    if by_heldout and not plan.split.steering:
        warnings.append(
            "OPTIMISTIC: the one held-out subject both steers the search and is what the evidence compares with;"
            " hold out more"
        )
    return Selection(
        steering_references,
        report_references,
        steering_heldout if by_heldout else (),
        plan.split.heldout,
        tuple(warnings),
    )
