"""`ray up` over SSH to machines of one's own, studies on them, and losses in mid-study. The tests are one story."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from study.records.metrics import METRICS
from study.records.reading import load_study

pytestmark = pytest.mark.soak
ROOT = Path(__file__).parents[2]
HEAD, *WORKERS = MACHINES = "192.168.1.10", "192.168.1.11", "192.168.1.12"
REAL = ROOT.parent / "shared" / "data" / "Task04_Hippocampus"
COHORT = "decathlon:/srv/data/COHORT --shape 32,48,32" if REAL.is_dir() else "phantom:24x32x32,8"
SMALL = "--retain-count 3 --forget-count 1 --heldout-count 1 --baseline-epochs 3 --references 1 --no-evidence"
STUDY = f"--space noisy_label --cohort {COHORT} {SMALL} --sampler random --cpus-per-trial 1"
DETECTED = {"kill": 60, "cut": 150}
"""Seconds within which a lost trial has reported its next epoch: generous, docs/cluster.md has what was measured."""


@pytest.fixture(scope="module")
def machines(network, shipped):
    """Three machines and a laptop, on which the shipped file and Ray's token are."""
    found = network("192.168.1.1/24", MACHINES, 1500)
    if REAL.is_dir():
        shutil.copytree(REAL, found.folder / "COHORT")
    replaced = {
        "/data": "/srv/data",
        "make .venv/installed": f"ln -sfn {Path(sys.prefix).resolve()} .venv",
        "LETHE_CACHE=": "PYTHONPATH=$HOME/lethe LETHE_CACHE=",  # that environment may be another checkout's
        "ray start --head": "ray start --num-cpus=1 --head",
        "ray start --address": "ray start --num-cpus=1 --address",
    }
    changed = shipped("cluster.ssh.yaml", replaced)
    (found.folder / "cluster.ssh.yaml").write_text(changed)
    assert found.run("ray get-auth-token --generate").returncode == 0
    return found


@pytest.fixture(scope="module")
def alone(machines):
    """The study on one machine, the laptop, which shares no cache with the others; it runs beside `ray up`."""
    options = f"{STUDY} --trials 6 --set epochs=12 --concurrent 2 --name alone --studies ~/studies"
    return machines.popen(
        f"RAY_ADDRESS=local LETHE_CACHE=~/cache python -m study.run {options} && cp -r ~/studies/alone /srv/data"
    )


@pytest.fixture(scope="module")
def cluster(machines, alone):
    """The machines once `ray up` has made a cluster of them."""
    up(machines)
    return machines


def up(machines):
    done = machines.run("ray up -y /srv/data/cluster.ssh.yaml")
    assert done.returncode == 0, done.stdout
    print(f"three nodes {wait_until_three(machines):.0f} s after `ray up`")


def wait_until_three(machines):
    started = time.monotonic()
    while "\n 3 local.cluster.node" not in (
        status := machines.run("ray exec /srv/data/cluster.ssh.yaml 'ray status'").stdout
    ):
        assert time.monotonic() < started + 240, status
        time.sleep(1)
    return time.monotonic() - started


class Study:
    """A study that has been submitted from the laptop."""

    def __init__(self, machines, name, options):
        self._said = machines.folder / f"{name}.{time.monotonic_ns()}.log"
        self.folder = machines.folder / "studies" / name
        command = f"ray submit /srv/data/cluster.ssh.yaml study/run.py {STUDY}"
        self.process = machines.popen(f"{command} --name {name} {options}", stdout=self._said.open("w"))

    @property
    def said(self):
        return self._said.read_text(errors="replace")

    def ends(self, seconds=300):
        assert self.process.wait(seconds) == 0, self.said[-5000:]
        return self.said

    def reported(self, trial=None):
        """The trials' reports in their order, repeated ones as well: (trial, epoch)."""
        journal = self.folder / "history" / "_journal.jsonl"
        rows = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
        reports = [(row["id"], row["epoch"]) for row in rows if not row["id"].startswith(("baseline", "retrained"))]
        return [report for report in reports if trial in (None, report[0])]

    def table(self, name):
        return getattr(load_study(self.folder), name).set_index("id").sort_index()

    def hosts(self):
        """(machine, trial) of the trials' last epochs."""
        last = self.table("history").dropna(subset="node").sort_values("epoch").groupby("id").node.last()
        return {(machine, trial) for trial, machine in last.items()}


def running_trials(machines, address):
    return [line for line in machines.processes(address) if line.startswith("ray::ResourceTrainable")]


def left(machines):
    """What still runs, by machine."""
    return {address: found for address in MACHINES if (found := machines.processes(address))}


def test_trials_run_on_all_machines_and_give_what_one_machine_gives(cluster, alone):
    study = Study(cluster, "three", "--trials 6 --set epochs=12")
    assert "on 3 nodes (3 CPUs, 0 GPUs): 3 trials at a time, 1 CPU each" in study.ends()
    assert {host for host, _ in study.hosts()} == set(MACHINES)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads((study.folder / "study.json").read_text())["commit"] == commit.stdout.strip()
    output, _ = alone.communicate(timeout=300)
    assert alone.returncode == 0, output
    expected = pd.read_parquet(cluster.folder / "alone" / "trials").set_index("id").sort_index()
    assert len(expected) == 6
    pd.testing.assert_frame_equal(study.table("trials")[[*METRICS]], expected[[*METRICS]], check_exact=True)


def test_a_folder_that_not_all_machines_see_is_refused(cluster):
    study = Study(cluster, "private", "--storage /home/you/states")
    assert study.process.wait(120) != 0
    (blind,) = re.findall(r"([\d., ]+) cannot see /home/you/states/private, where trials keep their", study.said)
    assert set(blind.strip().split(", ")) == set(WORKERS)
    assert "give --storage a folder that all nodes share" in study.said


def test_the_fronts_are_shown_on_the_head(cluster):
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:5000/lethe/', timeout=20).status)"
    assert "200" in cluster.run(f'python -c "{read}"', on=HEAD).stdout
    assert cluster.run(f'python -c "{read.replace("127.0.0.1", HEAD)}"').returncode != 0


def test_attach_brings_the_fronts_to_the_laptop(cluster, wait_until):
    shell = cluster.popen("sleep 120 | ray attach /srv/data/cluster.ssh.yaml -p 5000")
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:5000/lethe/', timeout=20).status)"
    wait_until(lambda: "200" in cluster.run(f'python -c "{read}"').stdout, 60)
    shell.kill()


def test_the_studies_are_brought_to_the_laptop(cluster):
    done = cluster.run("ray rsync-down /srv/data/cluster.ssh.yaml /srv/data/studies/ ~/brought/")
    assert done.returncode == 0, done.stdout
    assert cluster.run("diff -r ~/brought/three /srv/data/studies/three").returncode == 0


def test_ray_answers_to_those_with_its_token(cluster):
    ask = f"ray status --address={HEAD}:6379"
    assert "3 local.cluster.node" in cluster.run(f"RAY_AUTH_MODE=token {ask}").stdout
    for stranger in ("RAY_AUTH_MODE=disabled", "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef"):
        refused = cluster.run(f"{stranger} {ask}")
        assert refused.returncode != 0
        assert "InvalidAuthToken" in refused.stdout


@pytest.mark.parametrize("loss", ["kill", "cut"])
def test_trials_of_a_lost_machine_go_on_elsewhere(cluster, loss, wait_until):
    """Two trials on three machines: there is room for the one that is lost."""
    study = Study(cluster, loss, "--trials 4 --set epochs=15 --concurrent 2")
    wait_until(lambda: sum(epoch == 3 for _, epoch in study.reported()) == 2, 300)
    lost = next(address for address in WORKERS if running_trials(cluster, address))
    started = time.monotonic()
    (cluster.kill if loss == "kill" else cluster.cut)(lost)
    wait_until(lambda: "tried again after" in study.said, DETECTED[loss])
    told = time.monotonic() - started
    (trial,) = set(re.findall(r"(\w{12})  \S*tried again after", study.said))
    before = len(study.reported(trial))
    wait_until(lambda: len(study.reported(trial)) > before, DETECTED[loss])
    took = time.monotonic() - started
    print(f"{loss}: told after {told:.1f} s, next epoch after {took:.1f} s")
    assert took < DETECTED[loss]
    study.ends()
    assert lost not in {host for host, name in study.hosts() if name == trial}
    assert list(study.table("trials").status) == ["finished"] * 4
    assert list(study.table("trials").epochs_done) == [15] * 4
    assert (study.table("history").reset_index().groupby(["id", "epoch"]).size() == 1).all()
    (cluster.start if loss == "kill" else cluster.mend)(lost)
    print(f"{loss}: three nodes again after {wait_until_three(cluster):.1f} s")


def test_a_study_goes_on_with_a_new_head(cluster, wait_until):
    options = "--trials 6 --set epochs=8"
    study = Study(cluster, "head", options)
    wait_until(lambda: len(set(re.findall(r"(\w{12})  (?:feasible|infeasible) ", study.said))) >= 3, 300)
    cluster.kill(HEAD)
    study.process.wait(60)
    finished, epochs = study.table("trials").query("status == 'finished'"), study.table("history")
    assert 3 <= len(finished) < 6
    cluster.start(HEAD)
    up(cluster)
    Study(cluster, "head", options).ends()
    again = study.table("trials")
    assert list(again.status) == ["finished"] * 6
    done = epochs.loc[finished.index]
    pd.testing.assert_frame_equal(
        study.table("history").loc[finished.index], done
    )  # their seconds too: none ran again


def test_ray_down_leaves_nothing(cluster):
    done = cluster.run("ray down -y /srv/data/cluster.ssh.yaml")
    assert done.returncode == 0, done.stdout
    started = time.monotonic()
    while left(cluster) and time.monotonic() < started + 200:
        time.sleep(1)
    assert left(cluster) == {}
    print(f"nothing runs {time.monotonic() - started:.0f} s after `ray down`")
