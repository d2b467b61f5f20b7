import pytest
import ray
from ray.tune import Callback, CheckpointConfig, RunConfig, Trainable, Tuner, with_resources
from ray.util import placement_group_table

from study.cluster.placement import TrialPlacement, remove_own_groups


def states():
    return {name: group["state"] for name, group in placement_group_table().items()}


@pytest.mark.slow
def test_of_two_drivers_on_one_ray_one_that_clears_up_leaves_the_others_trials_alone(local_ray, other_driver):
    theirs = other_driver()
    ours = TrialPlacement([{"CPU": 1}]).to_placement_group()
    assert ours.wait(60)
    remove_own_groups()
    assert states()[ours.id.hex()] == "REMOVED"
    assert states()[theirs] == "CREATED"


@pytest.mark.slow
def test_tune_runs_trials_in_the_groups_that_are_cleared_up(local_ray, tmp_path):
    """Whatever Tune does with a trial's resources, the group is one of TrialPlacement's."""

    class Trial(Trainable):
        def step(self):
            return {"done": True, "group": ray.util.get_current_placement_group().id.hex()}

    class Look(Callback):
        def on_trial_result(self, result, **info):
            self.before = states()[result["group"]]
            remove_own_groups()
            self.after = states()[result["group"]]

    look = Look()
    config = RunConfig(storage_path=str(tmp_path), callbacks=[look], verbose=0, checkpoint_config=CheckpointConfig())
    Tuner(with_resources(Trial, TrialPlacement([{"CPU": 1, "GPU": 0}])), run_config=config).fit()
    assert (look.before, look.after) == ("CREATED", "REMOVED")
