"""What a study writes down: tables on disk first, then MLflow."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analysis import numbers
from study.networks.references import Reference
from study.recording.tracker import DESCRIPTION, PARENT, RUN_NAME, Tracker
from study.records.constraints import Constraint
from study.records.evidence import EVIDENCE
from study.records.front import best_feasible, mark
from study.records.metrics import METRICS, SUBJECT_METRICS
from study.records.objectives import Objective
from study.records.tables import Table, history_table, references_table, subjects_table, trials_table
from study.records.trials import FAILED, FINISHED, PRUNED, RUNNING

_MARKS = ("feasible", "on_front")
_MLFLOW_STATUS = {FINISHED: "FINISHED", PRUNED: "KILLED", FAILED: "FAILED", RUNNING: "KILLED"}


class Recorder:
    """Keeps the study's tables and MLflow up to date; knows which trials are on the front."""

    def __init__(
        self,
        folder: Path,
        knobs: Mapping[str, type],
        objective: Objective,
        constraints: Sequence[Constraint],
        subjects: Mapping[str, Sequence[str]],
        tracker: Tracker,
        horizons: Sequence[int] = (),
    ):
        """Open the tables of a study's folder.

        Args:
            folder: of the study.
            knobs: those of any trial and the Python type of their values.
            objective: decides the front.
            constraints: what a feasible trial meets.
            subjects: set -> pseudonyms of its subjects, in the order of the reported values.
            tracker: takes everything to MLflow.
            horizons: epochs after which single subjects are recorded, beside the last one.
        """
        self._trials, self._history = trials_table(folder, knobs), history_table(folder)
        self._subjects, self._references = subjects_table(folder), references_table(folder)
        self._knobs, self._objective, self._constraints = tuple(knobs), objective, constraints
        self._sets, self._tracker, self._horizons = subjects, tracker, horizons
        self._trial_rows = {row["id"]: row for row in self._trials.rows}
        self._reference_rows = {row["id"]: row for row in self._references.rows}
        self._epochs: dict[str, dict[int, Mapping[str, Any]]] = {}
        self._latest: dict[str, Mapping[str, Any]] = {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The trial table."""
        return list(self._trial_rows.values())

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The best feasible trial so far; it is always on the front."""
        return best_feasible((row for row in self._trial_rows.values() if row["on_front"]), self._objective)

    @property
    def references(self) -> list[dict[str, Any]]:
        """The table of references."""
        return list(self._reference_rows.values())

    @property
    def ended_trials(self) -> int:
        """Trials that nothing is left to do for."""
        return sum(row["status"] != RUNNING for row in self._trial_rows.values())

    def row(self, trial: str) -> dict[str, Any]:
        """A trial's row."""
        return self._trial_rows[trial]

    def epochs(self, trial: str) -> list[dict[str, Any]]:
        """A trial's rows of the history table, by epoch."""
        rows: list[dict[str, Any]] = self._history.read(id=trial).sort_by("epoch").to_pylist()
        return rows

    def catch_up(self) -> None:
        """Log to MLflow what it lacks of the records."""
        history = self._history.read()
        last = history.group_by("id").aggregate([("epoch", "max")]).to_pydict()
        epochs = dict(zip(last["id"], last["epoch_max"], strict=True))
        for row in self.references:
            params = {"reference": row["id"], "digest": row["digest"]}
            self._tracker.start(row["id"], params, {"kind": "reference", "status": FINISHED}, "FINISHED")
        for row in self.rows:
            self._tell_run(row, _MLFLOW_STATUS[row["status"]])
        for row in (*self.references, *self.rows):
            self._tracker.log_lacking(row["id"], epochs.get(row["id"], 0), partial(self._all_metrics, row["id"]))
            if row["evidence"]:
                self._tracker.measure(row["id"], _evidence(row))

    def _all_metrics(self, trial: str) -> list[dict[str, Any]]:
        return [_metrics(epoch) for epoch in self.epochs(trial)]

    def reference(self, name: str, reference: Reference) -> None:
        """Record a reference, its single subjects and its history."""
        known = self._reference_rows.get(name, dict.fromkeys(EVIDENCE))
        row = {**known, "id": name, "digest": reference.digest, "seed": reference.seed, **reference.metrics}
        if name not in self._reference_rows:
            self._history.upsert({"id": name, **epoch} for epoch in reference.history)
            self._record_subjects(name, int(reference.history[-1]["epoch"]), reference.subjects)
        self._write(self._references, self._reference_rows, [row])

    def evidence(self, name: str) -> str | None:
        """The settings under which a trial's or reference's evidence was gathered; None without any."""
        row = self._trial_rows.get(name) or self._reference_rows.get(name) or {}
        return row.get("evidence")

    def gathered(self, name: str, found: Mapping[str, Any]) -> None:
        """Record and log the evidence on a trial or a reference."""
        for table, rows in ((self._trials, self._trial_rows), (self._references, self._reference_rows)):
            if name in rows:
                self._write(table, rows, [{**rows[name], **dict.fromkeys(EVIDENCE), **found}])
        self._tracker.measure(name, _evidence(found))

    def started(self, config: Mapping[str, Any]) -> None:
        """A trial begins, or continues.

        Args:
            config: `id`, `strategy`, `seed` and `knobs`.
        """
        trial, knobs = config["id"], {name: config["knobs"].get(name) for name in self._knobs}
        empty = dict.fromkeys((*METRICS, *_MARKS, "diverged", "problem", *EVIDENCE))
        continued = trial in self._trial_rows
        known = self._trial_rows.get(trial, {"epochs_done": 0, "seconds": 0.0})
        identity = {"id": trial, "strategy": config["strategy"], "seed": config["seed"]}
        row = {**empty, **known, **identity, **knobs, "status": RUNNING}
        self._write(self._trials, self._trial_rows, [row])
        if trial not in self._epochs:
            self._epochs[trial] = {epoch["epoch"]: epoch for epoch in self.epochs(trial)} if continued else {}
        self._tell_run(row, "RUNNING")

    def epoch(self, trial: str, result: Mapping[str, Any]) -> None:
        """An epoch's report; a repeated one (after a restart) replaces the first."""
        row = {"id": trial, **{name: result[name] for name in ("epoch", *METRICS, "loss", "seconds")}}
        row["node"] = result.get("node_ip")
        self._history.upsert([row])
        self._epochs[trial][row["epoch"]] = row
        self._latest[trial] = result
        if result["epoch"] in self._horizons:
            self._record_subjects(trial, result["epoch"], result["subjects"])
        self._tracker.log(trial, [_metrics(row)])

    def ended(self, trial: str, status: str, diverged: bool, problem: str | None = None) -> None:
        """A trial is finished, pruned or failed: its last epoch's metrics are its result, and the front may change.

        Args:
            trial: its id.
            status: FINISHED, PRUNED or FAILED.
            diverged: whether its last loss was not finite.
            problem: what went wrong with it.
        """
        reports = [report for _, report in sorted(self._epochs.pop(trial).items())]
        last = {name: reports[-1][name] for name in METRICS} if reports else {}
        seconds = sum(report["seconds"] for report in reports)
        if trial in self._latest:
            latest = self._latest.pop(trial)
            self._record_subjects(trial, latest["epoch"], latest["subjects"])
        row = {**self._trial_rows[trial], **last, "diverged": diverged, "epochs_done": len(reports)}
        row |= {"seconds": seconds, "status": status, "problem": problem}
        leading = [other for other in self._trial_rows.values() if other["on_front"] and other["id"] != trial]
        marked = mark([*leading, row], self._constraints, self._objective)  # the others stay behind these
        changed = [new for new in marked if new["id"] == trial or not new["on_front"]]
        self._write(self._trials, self._trial_rows, changed)
        for row in changed:
            if row["id"] == trial:
                self._tell_run(row, _MLFLOW_STATUS[status])
            else:
                self._tracker.tag(row["id"], {name: row[name] for name in _MARKS})
        best = self.best
        if best is not None and best["id"] == trial:
            self._describe(best)

    def result(self, files: Sequence[Path], complete: bool) -> None:
        """End the parent run with the best trial's metrics and the study's files."""
        best = self.best
        if best is not None:
            metrics = {"epoch": self.ended_trials, **{name: best[name] for name in METRICS}}
            self._tracker.log(PARENT, [_metrics(metrics)])
        self._describe(best)
        for file in files:
            self._tracker.attach(PARENT, file)
        self._tracker.end(PARENT, "FINISHED" if complete else "KILLED")

    def close(self) -> None:
        """Merge what was appended to the tables."""
        for table in (self._trials, self._history, self._subjects, self._references):
            table.merge()

    def _write(self, table: Table, kept: dict[str, dict[str, Any]], rows: Sequence[dict[str, Any]]) -> None:
        table.upsert(rows)
        kept.update({row["id"]: row for row in rows})

    def _record_subjects(self, name: str, epoch: int, values: Mapping[str, Sequence[float]]) -> None:
        rows = [
            {"id": name, "epoch": epoch, "set": subset, "subject": subject}
            | {metric: values[f"{subset}_{metric}"][place] for metric in SUBJECT_METRICS}
            for subset, subjects in self._sets.items()
            for place, subject in enumerate(subjects)
        ]
        self._subjects.upsert(rows)

    def _tell_run(self, row: Mapping[str, Any], status: str) -> None:
        told = ("status", "diverged", *_MARKS)
        outcome = {"id", "epochs_done", "seconds", "problem", *told, *METRICS, *EVIDENCE}
        knobs = {name: value for name, value in row.items() if name not in outcome and value is not None}
        tags = {name: row[name] for name in ("strategy", *told) if row[name] is not None}
        self._tracker.start(row["id"], knobs, {"kind": "trial", RUN_NAME: self._title(row), **tags}, status)

    def _title(self, row: Mapping[str, Any]) -> str:
        """A trial's name in MLflow: its strategy and knobs."""
        knobs = [f"{name}={numbers.knob(row[name])}" for name in self._knobs if row[name] is not None]
        return " ".join([row["strategy"], *knobs])

    def _describe(self, best: Mapping[str, Any] | None) -> None:
        """Say in the parent run which trial is best."""
        if best is None:
            self._tracker.tag(PARENT, {DESCRIPTION: "No trial is feasible so far."})
            return
        metrics = ("dice_gap", "retain_dice", "forget_dice", "heldout_dice", "retention")
        lines = [f"| {name.replace('_', ' ')} | {numbers.metric(best[name])} |" for name in metrics]
        text = f"Best feasible trial: **{self._title(best)}** (`{best['id']}`)\n\n| metric | |\n|---|---|\n"
        where = f"\n\nIts weights are in the study's folder under `front/{best['id']}/`."
        self._tracker.tag(PARENT, {"best_trial": best["id"], DESCRIPTION: text + "\n".join(lines) + where})


def metric_name(column: str) -> str:
    """A column's name in MLflow, which groups its charts by what stands before the slash."""
    subset, _, metric = column.partition("_")
    if subset in ("retain", "forget", "heldout"):
        return f"{subset}/{metric}"
    if column in METRICS and column.endswith("_gap"):
        return f"gap/{column.removesuffix('_gap')}"
    return f"training/{column}" if column in ("loss", "seconds") else column


def _metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    return {metric_name(name): value for name, value in row.items() if name not in ("id", "node")}


def _evidence(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"evidence/{name}": row[name] for name in EVIDENCE if name in row}
