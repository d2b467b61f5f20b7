import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import torch
from rich.console import Console

from search_spaces.space import Entry, Suite
from study.cluster.nodes import Resources
from study.cluster.storage import Storage
from study.networks.session import Reference, Session
from study.planning.plan import make_plan
from study.records.evidence import EVIDENCE
from study.records.metrics import METRICS
from study.records.rows import TrialRow
from study.records.tables import trials_table
from study.records.trials import FAILED, FINISHED, PRUNED, RUNNING, TrialConfig
from study.search.searcher import Unfinished
from study.search.suite import SuiteSearch, suite_trials
from study.terminal.live import StudyView
from study.trials.engine import _search
from trainables.trainable import STATE_FILE

BASELINE = "b" * 12
SUITE = Suite(
    (Entry("noisy_label", {"lr": 1e-3, "noise_rate": 1.0}), Entry("max_loss", {"lr": 3e-4}), Entry("finetune", {})),
    horizons=(2, 5),
    seeds=2,
)
KNOBS = {  # of each recipe, written out
    "noisy_label": {"lr": 1e-3, "noise_rate": 1.0, "epochs": 5},
    "max_loss": {"lr": 3e-4, "epochs": 5},
    "finetune": {"epochs": 5},
}
ORDER = [(strategy, seed) for seed in (7, 8) for strategy in KNOBS]
IDS = [TrialConfig(strategy, KNOBS[strategy], seed, BASELINE).signature for strategy, seed in ORDER]


def configs_of(search):
    """All that a search suggests until it ends."""
    found = []
    while (config := search.suggest(f"ray-{len(found)}")) != "FINISHED":
        found.append(config)
    return found


def ended_and_unfinished(ended=(), unfinished=()):
    """A search that starts from these records."""
    return SuiteSearch(suite_trials(SUITE, 7, BASELINE), ended, unfinished)


def test_a_suite_is_every_recipe_with_every_seed_a_round_at_a_time():
    trials = suite_trials(SUITE, 7, BASELINE)
    assert [(trial.strategy, trial.seed) for trial in trials] == ORDER
    assert [trial.signature for trial in trials] == IDS
    assert len(set(IDS)) == 6
    assert all(trial.knobs == KNOBS[trial.strategy] for trial in trials)


def test_more_seeds_add_trials_behind_and_another_baseline_changes_all():
    more = [trial.signature for trial in suite_trials(replace(SUITE, seeds=4), 7, BASELINE)]
    assert more[:6] == IDS
    assert len(set(more)) == 12
    assert not {trial.signature for trial in suite_trials(SUITE, 7, "c" * 12)} & set(IDS)


def test_a_search_suggests_each_trial_once_in_order_and_ends():
    search = ended_and_unfinished()
    assert not search.exhausted
    configs = configs_of(search)
    assert [config["id"] for config in configs] == IDS
    assert configs[1] == {
        "id": IDS[1],
        "strategy": "max_loss",
        "knobs": KNOBS["max_loss"],
        "seed": 7,
        "checkpoint": None,
        "one_by_one": False,
    }
    assert search.exhausted
    assert search.suggest("again") == "FINISHED"


def test_results_change_nothing():
    search = ended_and_unfinished()
    search.suggest("ray-0")
    search.on_trial_complete("ray-0", error=True)
    search.ended({"id": IDS[0], "status": FAILED})
    search.suggest("ray-1")
    search.ended({"id": IDS[1], "status": FINISHED, "dice_gap": 0.5})
    assert [config["id"] for config in configs_of(search)] == IDS[2:]


def test_a_search_that_is_closed_suggests_nothing_but_is_not_exhausted():
    search = ended_and_unfinished()
    search.suggest("ray-0")
    search.close()
    assert search.suggest("ray-1") == "FINISHED"
    assert not search.exhausted


def test_what_has_ended_is_left_out_and_what_has_not_goes_on_from_its_checkpoint(tmp_path):
    unfinished = [Unfinished(IDS[3], {}, str(tmp_path / "state.pt")), Unfinished(IDS[1], {}, None, one_by_one=True)]
    configs = configs_of(ended_and_unfinished([IDS[0], IDS[4]], unfinished))
    assert [config["id"] for config in configs] == [IDS[1], IDS[2], IDS[3], IDS[5]]
    assert [config["checkpoint"] for config in configs] == [None, None, str(tmp_path / "state.pt"), None]
    assert [config["one_by_one"] for config in configs] == [True, False, False, False]
    assert ended_and_unfinished(IDS).exhausted


# What a resume reads: the trial table and the state files that a session left behind.


def searched(plan, rows, storage, crowded=()):
    """What a new session suggests, which reads these rows from the disk."""
    table = trials_table(plan.settings.studies, plan.space.knobs)
    empty = dict.fromkeys(table.schema.names)
    table.upsert([{**empty, "retention": 0.95, "dice_gap": 0.5, "diverged": False, **row} for row in rows])
    view = StudyView(Console(file=io.StringIO()))
    record = SimpleNamespace(knobs=plan.space.knobs, metrics=METRICS, evidence_columns=EVIDENCE)
    kept = [TrialRow.of(flat, record) for flat in table.rows]
    references = {"baseline": Reference(BASELINE, 0, {}, {}, [], {})}
    session = Session(plan, Resources(1, 1, 0.0), view, references)
    return _search(session, kept, Storage(str(storage)), set(crowded))


def state_file(storage: Path, session, trial, number, whole=True):
    path = storage / f"session-{session}/{trial}/checkpoint_{number:06d}/{STATE_FILE}"
    path.parent.mkdir(parents=True)
    torch.save({"epoch": number}, path)
    if not whole:
        path.write_bytes(path.read_bytes()[:-60])
    return str(path)


@pytest.fixture
def plan(settings):
    settings.studies.mkdir()
    return make_plan(replace(settings, space="paper", horizons="2,3", seeds=2))


def test_a_suite_resumes_from_its_tables_and_state_files(plan, tmp_path):
    trials = suite_trials(plan.space, plan.settings.seed, BASELINE)
    assert len(trials) == plan.trials == 10
    statuses = [FINISHED, FAILED, RUNNING, RUNNING, RUNNING]
    rows = [
        {"id": trial.signature, "strategy": trial.strategy, "seed": trial.seed, **trial.knobs, "status": status}
        for trial, status in zip(trials, statuses, strict=False)
    ]
    ids = [trial.signature for trial in trials]
    state_file(tmp_path, 1, ids[2], 1)
    newest = state_file(tmp_path, 2, ids[2], 2)
    broken = state_file(tmp_path, 1, ids[3], 0)
    state_file(tmp_path, 1, ids[3], 1, whole=False)
    configs = configs_of(searched(plan, rows, tmp_path, crowded=[ids[4]]))
    assert [config["id"] for config in configs] == ids[2:]
    assert [config["checkpoint"] for config in configs] == [newest, broken, *[None] * 6]
    assert [config["one_by_one"] for config in configs] == [False, False, True, *[False] * 5]
    assert [config["knobs"] for config in configs] == [trial.knobs for trial in trials[2:]]


@pytest.mark.slow
def test_a_conditional_space_resumes_from_its_tables_and_state_files(settings, tmp_path):
    settings.studies.mkdir()
    given = {"space": "mechanics", "knobs": ("retain=segment",), "objective": "retrain"}
    plan = make_plan(replace(settings, optuna_storage=f"sqlite:///{tmp_path}/optuna.db", **given))
    first = searched(plan, [], tmp_path)
    configs = [first.suggest(f"ray-{number}") for number in range(7)]
    assert [config["knobs"] for config in configs[:5]] == [dict(start) for start in plan.space.starts]
    statuses = [FINISHED, RUNNING, FAILED, PRUNED, RUNNING, FINISHED]
    rows = [
        {"id": config["id"], "strategy": "mechanics", "seed": 0, **config["knobs"], "status": status}
        | {"retrain_gap": 0.25, "epochs_done": 2}
        for config, status in zip(configs, statuses, strict=False)  # the last one never began
    ]
    state = state_file(tmp_path, 1, configs[4]["id"], 3)
    search = searched(plan, rows, tmp_path)
    study = optuna.load_study(study_name=plan.settings.name, storage=plan.settings.optuna_storage)
    states = {trial.user_attrs["id"]: trial.state.name for trial in study.trials if trial.value is not None}
    told = {0: "COMPLETE", 3: "PRUNED", 5: "COMPLETE"}
    assert states == {configs[number]["id"]: state for number, state in told.items()}
    suggested = [search.suggest(f"again-{number}") for number in range(2)]
    assert suggested == [configs[1], {**configs[4], "checkpoint": state}]
    assert search.suggest("new")["id"] not in {config["id"] for config in configs[:6]}
