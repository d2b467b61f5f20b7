"""The evidence columns of a study: what every measure and every conclusion there is fills."""

from collections.abc import Iterator

from analysis.evidence.conclude import conclusions
from analysis.evidence.verdict import COLUMNS as VERDICT_COLUMNS
from analysis.numbers import ENDS
from study.records.evidence import STATE, EvidenceColumn
from study.records.failure import StudyError
from study.records.metrics import SETS
from trainables.evidence.measure import Measure
from trainables.evidence.measurements import MEASURES

_SURFACES = {
    f"{subset}_{metric}": EvidenceColumn("float", f"{words} {title}", "Is it still good?", "as retrained")
    for subset, words in SETS.items()
    for metric, title in {"hd95": "HD95 (mm)", "surface_dice": "surface Dice", "empty": "empty classes"}.items()
}


def all_columns() -> dict[str, EvidenceColumn]:
    """The columns of every measure and conclusion.

    Raises:
        StudyError: an installed measure cannot be imported, or fills another's column.
    """
    try:
        measures = {name: MEASURES.load(name) for name in MEASURES.names()}
    except ValueError as error:
        raise StudyError(str(error)) from error
    columns: dict[str, EvidenceColumn] = {STATE: EvidenceColumn("str"), **VERDICT_COLUMNS, **_SURFACES}
    groups = [conclusion.columns for conclusion in conclusions().values()]
    groups += [dict(_columns_of(name, measure)) for name, measure in measures.items()]
    for group in groups:
        twice = sorted(columns.keys() & group.keys())
        if twice:
            raise StudyError(f"two measures or conclusions fill the evidence column {', '.join(twice)}")
        columns |= group
    return columns


def _columns_of(name: str, measure: Measure) -> Iterator[tuple[str, EvidenceColumn]]:
    never_seen = f"as retrained; {measure.remembered} if it remembers"
    yield name, EvidenceColumn("float", measure.title, measure.question, never_seen, measure.unit)
    yield f"{name}_retrained", EvidenceColumn("float", "", measure.question, "", measure.unit)
    if measure.judged:
        for end in ENDS:
            title, said = (f"{measure.title}: residual memory", "about 0") if not end else ("", "")
            yield f"{name}_residual{end}", EvidenceColumn("float", title, measure.question if not end else "", said)
