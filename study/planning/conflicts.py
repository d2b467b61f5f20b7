"""Whether a study may go on: its options, cohort and references are still those that it was started with."""

from study.records.options import option_of
from study.records.reading import read_record, recorded_settings
from study.records.settings import StudySettings


def conflict_of(settings: StudySettings, cohort: str) -> str | None:
    """Why settings cannot go on with what their folder holds, if that is another study.

    An option that an older study.json lacks has its default.

    Args:
        settings: of a plan.
        cohort: digest of the cohort that it read.

    Raises:
        StudyError: study.json cannot be read.
    """
    if not (settings.folder / "study.json").exists():
        return None
    before, now = recorded_settings(settings.folder).absolute().lasting, settings.lasting
    changed = [name for name in now if now[name] != before[name]]
    if changed:
        listed = ", ".join(f"{option_of(name)} ({before[name]!r} -> {now[name]!r})" for name in changed)
        return f"study {settings.name!r} was started with other settings: {listed}; choose another --name"
    if read_record(settings.folder)["cohort"].get("digest") != cohort:
        return f"study {settings.name!r} was started on other data: the cohort's files have changed since"
    return None
