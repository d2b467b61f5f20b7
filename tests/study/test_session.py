import io

import pytest
import ray
from rich.console import Console

from study.plan import PlanError, make_plan
from study.records import write_json
from study.session import run_study


def test_trials_of_another_baseline_are_not_mixed_in(settings):
    plan = make_plan(settings)
    plan.settings.folder.mkdir(parents=True)
    write_json(plan.settings.folder / "study.json", {"references": {"baseline": {"digest": "1"}}})
    with pytest.raises(PlanError, match="another baseline"):
        run_study(plan, Console(file=io.StringIO()))
    assert not ray.is_initialized()
