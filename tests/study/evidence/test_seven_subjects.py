"""A default study of seven subjects forgets one and holds out one: some of its shadows have nobody to unlearn."""

import io
import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import ray
from rich.console import Console

from study.cluster.nodes import Resources
from study.evidence.columns import all_columns
from study.evidence.gathering import gather_evidence
from study.evidence.shadows import shadow_fits
from study.networks.references import fit_digests, fit_networks, reference_fits
from study.networks.session import Session
from study.planning.plan import make_plan
from study.records.rows import TrialRow
from study.run import parse
from study.terminal.live import StudyView

OPTIONS = "--space noisy_label --cohort phantom:16x24x24,7 --baseline-epochs 2 --trials 2 --epochs 2 --shadows 4"
NETWORKS = ["baseline", "retrained", "retrained-1", "retrained-2", "retrained-3", "t"]
BROKEN = """
from trainables.evidence.measure import Measure

broken = Measure(lambda network, context: 1 / 0, "Broken", question="", remembered="more")
"""


class Kept:
    """Takes the evidence; there is one trial, which is both picks."""

    def __init__(self, row):
        self.rows, self.columns = [row], {}

    def row(self, name):
        return SimpleNamespace(examined=None)

    def gathered(self, name, columns):
        self.columns[name] = columns


@pytest.fixture(scope="module")
def study(tmp_path_factory, ray_of):
    """The plan, who took its evidence, and what the terminal said."""
    folder = tmp_path_factory.mktemp("seven")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LETHE_CACHE", str(folder / "cache"))
        ray_of(folder / "cache")
        yield gathered(folder)


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The same where a package with a measure that always fails is installed: here, and for a Ray of its own."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "broken_measure.py").write_text(BROKEN)
    info = folder / "broken_measure-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken_measure\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lethe.measures]\nbroken = broken_measure:broken\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")  # of Ray's workers
        patch.setenv("LETHE_CACHE", str(folder / "cache"))
        ray.shutdown()
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield gathered(folder)
        ray.shutdown()


def gathered(folder):
    plan = make_plan(parse([*OPTIONS.split(), "--studies", str(folder)]))
    plan.settings.folder.mkdir()
    results = {"feasible": True, "metrics": {"dice_gap": 0.5, "retrain_gap": 0.1}}
    trial = TrialRow(id="t", strategy="noisy_label", seed=0, knobs={"epochs": 2}, **results)
    kept, fits, output = Kept(trial), reference_fits(plan), io.StringIO()
    with StudyView(Console(file=output, width=200)) as view:
        session = Session(plan, Resources(2, 1, 0.0), view)
        references = fit_networks(session, fits, fit_digests(plan, fits))
        gather_evidence(replace(session, references=references), kept)
    return plan, kept, output.getvalue(), all_columns()


def details(plan, name):
    return json.loads((plan.settings.folder / "evidence" / f"{name}.json").read_text())


def test_there_are_shadows_that_had_no_forget_subject(study):
    plan, *_ = study
    (forget,) = plan.data.forget
    assert [len(plan.data.retain), len(plan.data.heldout)] == [5, 1]
    assert {forget in fit.taught for fit in shadow_fits(plan).values()} == {True, False}


def test_every_network_has_all_of_its_evidence(study):
    _, kept, said, columns = study
    complete(kept, columns, missing=set())
    assert "no evidence" not in said
    assert kept.columns["t"]["activation_distance"] > 0
    assert not [name for name in kept.columns if kept.columns[name]["evidence"].endswith(" incomplete")]


def complete(kept, columns, missing):
    assert list(kept.columns) == NETWORKS
    optional = {name for name in columns if name.startswith("pooled_auc")} | missing
    for found in kept.columns.values():
        assert found.keys() == columns.keys() - optional
        assert found["loss_auc"] in (0, 0.5, 1)
        assert found["lira_auc"] in (0, 0.5, 1)
        assert found["relearn_steps"] >= 0
        assert 0 <= found["resurfaced_dice"] <= 1


def test_single_subjects_are_in_the_details_with_the_measures_that_have_one_value_for_each(study):
    plan, kept, *_ = study
    (subject,) = plan.split.forget
    for name in NETWORKS:
        of_subject = details(plan, name)["forget"][subject]
        assert of_subject["resurfaced_dice"] == kept.columns[name]["resurfaced_dice"]
        assert of_subject.keys() >= {"dice", "loss", "classes"}


@pytest.mark.slow
def test_what_cannot_be_measured_is_told_of_and_drops_nothing_else(broken):
    plan, kept, said, columns = broken
    residual = {f"broken_residual{end}" for end in ("", "_low", "_high")}
    complete(kept, columns, missing={"broken", "broken_retrained", *residual})
    reason = "ZeroDivisionError: division by zero"
    assert [line.split()[1] for line in said.splitlines() if f"no broken: {reason}" in line] == NETWORKS
    assert "no evidence" not in said
    for name in NETWORKS:
        assert details(plan, name)["problems"] == {"broken": reason}


@pytest.mark.slow
def test_incomplete_evidence_is_of_another_state_so_that_the_next_session_tries_again(broken):
    _, kept, *_ = broken
    (state,) = {found["evidence"] for found in kept.columns.values()}
    assert state.endswith(" incomplete")
