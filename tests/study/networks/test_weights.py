from dataclasses import replace

import numpy as np
import pytest
import ray
from rich.console import Console
from safetensors.numpy import load_file

from study.cluster.nodes import Resources
from study.networks.references import fit_digests, fit_networks, reference_fits
from study.networks.session import Session
from study.networks.weights import front_weights, recipe_of, trial_weights
from study.planning.plan import make_plan
from study.records.rows import trial_rows
from study.run import parse
from study.terminal.live import StudyView
from trainables.evidence.measurements import metrics_of


@pytest.fixture
def plan(done, tmp_path):
    """Of a copy of the study."""
    return make_plan(parse([*done.options, "--studies", str(done.copied(tmp_path).studies)]))


@pytest.fixture
def session(plan):
    fits, session = reference_fits(plan), Session(plan, Resources(1, 1, 0.0), StudyView(Console(quiet=True)))
    return replace(session, references=fit_networks(session, fits, fit_digests(plan, fits)))


def row_of(plan, trial):
    (row,) = (row for row in trial_rows(plan.settings.folder, plan.recorded) if row.id == trial)
    return row


@pytest.mark.slow
def test_a_recipe_is_what_the_row_tells(plan, session, done):
    row = row_of(plan, done.front)
    recipe = recipe_of(session, row)
    assert (recipe.strategy, recipe.seed) == ("noisy_label", row.seed)
    assert recipe.knobs.keys() == {"noise_rate", "lr", "forget_weight", "epochs"}
    assert recipe.floor_dice == pytest.approx(0.81 * done.record["references"]["baseline"]["retain_dice"])


def test_weights_are_those_kept_or_the_same_computed_again(plan, session, done, local_ray):
    """A damaged file gives, bit for bit, what it held; a trial that was not kept has its recorded metrics."""
    kept = front_weights(plan.settings.folder, done.front)
    first = load_file(kept)
    assert not front_weights(plan.settings.folder, done.other).exists()
    front, other = row_of(plan, done.front), row_of(plan, done.other)
    read = ray.get(trial_weights(session, front))
    kept.write_bytes(kept.read_bytes()[:1000])
    again, anew = ray.get([trial_weights(session, row) for row in (front, other)])
    for name, value in first.items():
        np.testing.assert_array_equal(read[name], value)
        np.testing.assert_array_equal(again[name], value)
    sets = {"retain": plan.data.retain, "forget": plan.data.forget, "heldout": plan.data.heldout}
    found = metrics_of(plan.data, anew, 10, sets)
    assert found == pytest.approx({name: other.metric(name) for name in found}, abs=1e-4)
