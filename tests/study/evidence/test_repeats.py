"""A pick's recipe is run again with further seeds: once each, and with the same result whenever it is run."""

import io
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from study.cluster.nodes import Resources
from study.evidence import repeats
from study.evidence.repeats import repeat_picks
from study.networks.references import fit_digests, fit_networks, reference_fits
from study.networks.session import Session
from study.networks.weights import recipe_of, weights_again
from study.planning.plan import make_plan
from study.recording.recorder import Recorder
from study.records.rows import TrialRow
from study.records.study_record import read_record
from study.records.tables import study_tables
from study.run import parse
from study.session import study_record
from study.terminal.live import StudyView
from trainables.data import Sets
from trainables.evidence.measurements import metrics_of, weights_after
from trainables.seeds import seed_for

pytestmark = pytest.mark.slow

OPTIONS = "--space noisy_label --cohort phantom:16x24x24,7 --baseline-epochs 2 --references 3 --repeats 2"
JUDGED = ("dice", "loss", "worst_loss", "dice_views", "loss_views", "resurfaced_dice", "relearn_steps")


@pytest.fixture(scope="module")
def study(tmp_path_factory, ray_of):
    """A study whose one trial is both picks, repeated twice."""
    folder = tmp_path_factory.mktemp("repeats")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LETHE_CACHE", str(folder / "cache"))
        ray_of(folder / "cache")
        plan = make_plan(parse([*OPTIONS.split(), "--studies", str(folder)]))
        fits = reference_fits(plan)
        session = Session(plan, Resources(2, 1, 0.0), StudyView(Console(file=io.StringIO())))
        session = replace(session, references=fit_networks(session, fits, fit_digests(plan, fits)))
        plan.settings.folder.mkdir()
        study_record(plan, session.references).write(plan.settings.folder)
        results = {"dice_gap": 0.5, "retrain_gap": 0.1}
        trial = TrialRow(
            id="t", strategy="noisy_label", seed=0, knobs={"epochs": 2}, feasible=True, on_front=True, metrics=results
        )
        tables = study_tables(plan.settings.folder, read_record(plan.settings.folder))
        tables["trials"].upsert([trial.flat()])
        found, said = repeated(session)
        yield SimpleNamespace(session=session, trial=trial, found=found, said=said)


def repeated(session, settings=None):
    """What the records on disk hold of t's recipe once it was repeated, by seed, and what was said."""
    output = io.StringIO()
    plan = session.plan
    if settings:
        plan = replace(plan, settings=replace(plan.settings, **settings))
    with StudyView(Console(file=output, width=200)) as view:
        recorder = Recorder(plan.settings.folder, read_record(plan.settings.folder))
        repeat_picks(replace(session, plan=plan, view=view), recorder)
        recorder.close()
    again = Recorder(plan.settings.folder, read_record(plan.settings.folder))
    return {row.seed: row for row in again.repeats_of("t")}, output.getvalue()


def test_each_seed_has_the_metrics_of_its_network_and_a_verdict_by_all_measures(study):
    plan, references = study.session.plan, study.session.references
    assert list(study.found) == [seed_for(0, "repeat/1"), seed_for(0, "repeat/2")]
    assert "recipes repeated 2 times" in study.said
    data, threads = plan.data, torch.get_num_threads()
    torch.set_num_threads(1)  # as the tasks have
    for seed, row in study.found.items():
        recipe = recipe_of(study.session, replace(study.trial, seed=seed))
        sets = Sets(data.retain, data.forget, data.heldout)
        weights = weights_after(data, references["baseline"].weights, 10, sets, recipe)
        metrics = metrics_of(data, weights, 10, data.subsets)
        assert {name: row.metrics[name] for name in metrics} == metrics
        assert row.metrics["dice_gap"] == metrics["retain_dice"] - metrics["forget_dice"]
        assert row.metrics["robust_gap"] == metrics["retain_dice"] - metrics["forget_dice_views"]
        for subset, name in {"retain": "retention", "heldout": "heldout_retention"}.items():
            before = references["baseline"].metrics[f"{subset}_dice"]
            assert row.metrics[name] == pytest.approx(metrics[f"{subset}_dice"] / before)
        assert row.evidence["verdict"] in ("remembers", "over-forgets", "as never seen", "cannot tell")
        assert not row.examined.endswith("incomplete")
        assert {f"{name}_residual" for name in JUDGED} <= row.evidence.keys()
    torch.set_num_threads(threads)
    first, second = study.found.values()
    assert first.metrics["forget_dice"] != second.metrics["forget_dice"]


def test_what_was_repeated_is_not_run_again_and_more_are_run_beside_it(study, monkeypatch):
    asked = []
    monkeypatch.setattr(
        repeats, "weights_again", lambda session, row: asked.append(row.seed) or weights_again(session, row)
    )
    found, said = repeated(study.session, {"shadows": 2, "forget_draws": 1})
    assert (repr(found), said, asked) == (repr(study.found), "", [])
    found, _ = repeated(study.session, {"repeats": 3})
    assert asked == [seed_for(0, "repeat/3")]
    assert repr({seed: found[seed] for seed in study.found}) == repr(study.found)
    assert math.isfinite(found[asked[0]].metrics["dice_gap"])


def test_a_repeat_that_fails_costs_itself_alone_and_is_tried_again(study, monkeypatch):
    bad = seed_for(0, "repeat/5")

    def failing(session, row):
        return weights_again(session, row if row.seed != bad else replace(row, strategy="none"))

    monkeypatch.setattr(repeats, "weights_again", failing)
    found, said = repeated(study.session, {"repeats": 5})
    assert bad not in found
    assert seed_for(0, "repeat/4") in found
    assert "t repeat 5  not repeated: " in said
    monkeypatch.undo()
    found, _ = repeated(study.session, {"repeats": 5})
    assert bad in found


def test_another_margin_judges_anew_with_the_same_networks(study):
    found, _ = repeated(study.session, {"repeats": 1, "margin": 0.5})
    first = next(iter(study.found))
    assert found[first].metrics == study.found[first].metrics
    assert found[first].examined != study.found[first].examined
