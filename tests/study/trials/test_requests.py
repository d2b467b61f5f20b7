import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from rich.console import Console
from safetensors.numpy import load_file

from study.cluster.nodes import Resources
from study.networks.references import Fit, fit_digests, fit_networks, reference_fits
from study.networks.session import Session
from study.networks.weights import recipe_of
from study.planning.plan import make_plan
from study.records.references import BASELINE, RETRAINED
from study.records.rows import trial_rows
from study.run import parse
from study.terminal.live import StudyView
from trainables.cohorts.cache import cache_dir
from trainables.data import Sets
from trainables.evidence.measurements import metrics_of, weights_after

METHODS = ("sequential", "one-shot", "retrained")
SETS = {1: {"retain", "forget", "heldout", "request-1"}, 2: {"retain", "forget", "heldout", "request-1", "request-2"}}


@pytest.fixture
def plan(done):
    return make_plan(parse([*done.options, "--studies", str(done.studies)]))


def values(done, step, method):
    """`<set>_<metric>` -> value."""
    table = done.table("requests")
    rows = table[(table.step == step) & (table.method == method)]
    return {f"{row.set}_{row.metric}": row.value for row in rows.itertuples()}


def test_every_step_measures_every_method_on_every_set_of_that_step(done):
    table = done.table("requests")
    assert list(table) == ["step", "method", "trial", "set", "metric", "value"]
    found = {(row.step, row.method, row.set, row.metric) for row in table.itertuples()}
    assert len(found) == len(table)
    assert found == {
        (step, method, subset, metric)
        for step, subsets in SETS.items()
        for method in METHODS
        for subset in subsets
        for metric in ("dice", "mae", *["dice_views"] * (subset == "forget"))
    }
    assert set(table.trial) == {done.front}
    assert table.value.between(0, 1).all()


def test_the_last_one_shot_step_is_the_trial_and_the_last_retrained_one_the_reference(done):
    trial, reference = done.trials.loc[done.front], done.table("references").set_index("id").loc[RETRAINED]
    for method, recorded in (("one-shot", trial), ("retrained", reference)):
        found = values(done, 2, method)
        for metric in ("dice", "mae"):
            for subset in ("retain", "forget", "heldout"):
                assert found[f"{subset}_{metric}"] == pytest.approx(recorded[f"{subset}_{metric}"], abs=1e-5)


def test_all_forgotten_so_far_are_the_mean_of_their_requests(done):
    for method in METHODS:
        first, second = (values(done, step, method) for step in (1, 2))
        assert first["forget_dice"] == pytest.approx(first["request-1_dice"])
        assert second["forget_dice"] == pytest.approx((second["request-1_dice"] + second["request-2_dice"]) / 2)


@pytest.fixture
def one_thread():
    """As a task of the study has; sums in another order drift apart over a trial's steps."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_first_request_is_unlearned_alone_while_the_later_one_is_still_retained(done, plan):
    """Recomputed one layer below: from the baseline, without the first request, with the second in the retain set."""
    assert values(done, 1, "sequential") == pytest.approx(values(done, 1, "one-shot"))
    anna, berta = (plan.data.forget_at(request) for request in plan.requests)
    fits = {BASELINE: reference_fits(plan)[BASELINE], "without": Fit(plan.data.retain + berta, plan.settings.seed)}
    digests = fit_digests(plan, fits)
    kept = {"retain": plan.data.retain, "forget": anna, "heldout": plan.data.heldout}
    networks = {
        name: load_file(cache_dir() / "references" / digest / "weights.safetensors")
        for name, digest in digests.items()
    }
    session = Session(plan, Resources(1, 1, 0.0), StudyView(Console(quiet=True)))
    session = replace(session, references=fit_networks(session, fits, digests))  # all cached
    (row,) = (row for row in trial_rows(done.folder, plan.recorded) if row.on_front)
    recipe = recipe_of(session, row)
    unlearned = weights_after(plan.data, networks[BASELINE], 10, Sets(plan.data.retain + berta, anna), recipe)
    for method, network in (("sequential", unlearned), ("retrained", networks["without"])):
        expected, found = metrics_of(plan.data, network, 10, kept), values(done, 1, method)
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    alone = weights_after(plan.data, networks[BASELINE], 10, Sets(plan.data.retain, anna), recipe)
    assert metrics_of(plan.data, alone, 10, kept)["retain_dice"] != pytest.approx(
        values(done, 1, "sequential")["retain_dice"], abs=1e-3
    )


def test_the_table_of_requests_has_a_row_per_step_and_method(done):
    rows = pd.read_csv(done.folder / "requests_table.csv")
    columns = ["retain_dice", "retention", "heldout_dice", "forget_dice", "request_1_dice", "request_2_dice"]
    assert list(rows) == ["step", "method", "trial", *columns]
    assert list(zip(rows.step, rows.method, strict=True)) == [(step, method) for step in (1, 2) for method in METHODS]
    baseline = done.record["references"]["baseline"]["retain_dice"]
    for row in rows.itertuples():
        found = values(done, row.step, row.method)
        assert row.retention == pytest.approx(found["retain_dice"] / baseline)
        assert (row.forget_dice, row.request_1_dice) == pytest.approx((found["forget_dice"], found["request-1_dice"]))
    assert rows.request_2_dice.isna().tolist() == [True] * 3 + [False] * 3
    assert {path.name for path in done.folder.glob("requests_table.*")} == {
        f"requests_table.{kind}" for kind in ("csv", "md", "html")
    }
    assert "Deletion requests" in done.output


def test_requests_are_recorded_as_pseudonyms_in_their_order(done):
    record = json.loads((done.folder / "study.json").read_text())
    requests = record["settings"]["requests"].split("/")
    assert sorted(requests) == sorted(record["split"]["forget"])
    assert all(name.startswith("s-") for name in requests)
