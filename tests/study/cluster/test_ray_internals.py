"""What Lethe takes from inside Ray is asked of a Ray that runs: a version that changes it fails here."""

import re
from pathlib import Path

import pytest
import ray
from ray.tune import Callback, RunConfig, Trainable, Tuner

from study.cluster.ray_internals import LOST, OUT_OF_MEMORY, actor_of, killed_actors, session_folder


@pytest.mark.slow
def test_the_actor_of_a_trial_is_the_one_that_the_trial_says_it_is(local_ray, tmp_path):
    class Trial(Trainable):
        def step(self):
            return {"done": True, "actor": ray.get_runtime_context().get_actor_id()}

    class Look(Callback):
        def on_trial_start(self, trial, **info):
            self.expected = actor_of(trial)

        def on_trial_result(self, result, **info):
            self.said = result["actor"]

    look = Look()
    Tuner(Trial, run_config=RunConfig(storage_path=str(tmp_path), callbacks=[look], verbose=0)).fit()
    assert look.expected == look.said


@pytest.mark.slow
def test_ray_says_that_an_actor_is_lost_in_the_words_that_are_looked_for(local_ray):
    @ray.remote
    class Actor:
        def end(self):
            import os

            os._exit(1)

    with pytest.raises(ray.exceptions.RayActorError, match=LOST.pattern):
        ray.get(Actor.remote().end.remote())


@pytest.mark.slow
def test_the_folder_of_a_nodes_session_is_where_ray_writes(local_ray):
    (node,) = ray.nodes()
    assert {"logs", "sockets"} <= {path.name for path in Path(session_folder(node)).iterdir()}


@pytest.mark.slow
def test_ray_names_the_actors_that_it_has_killed_for_their_nodes_memory(short_of_memory):
    @ray.remote
    class Actor:
        def me(self):
            return ray.get_runtime_context().get_actor_id()

        def wait(self):
            import time

            time.sleep(60)

    actor = Actor.remote()
    with pytest.raises(ray.exceptions.OutOfMemoryError, match=OUT_OF_MEMORY.pattern) as error:
        ray.get(actor.wait.remote())
    assert killed_actors(error.value) == [re.search(r"(\w+)\)$", repr(actor)).group(1)]
