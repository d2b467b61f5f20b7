"""Studies on a Ray cluster of several nodes, each a raylet of its own."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
import pandas as pd
import pytest
import ray
from moto.server import ThreadedMotoServer
from ray._private.internal_api import node_stats
from ray.cluster_utils import Cluster

from study.cluster.joining import check_stores
from study.records.failure import StudyError
from trainables.med3d import med3d

ROOT = Path(__file__).parents[3]
OPTIONS = {
    "space": "noisy_label",
    "cohort": "phantom:24x32x32,3",
    "baseline-epochs": "3",
    "forget-count": "1",
    "heldout-count": "1",
    "references": "1",
    "sampler": "random",
    "trials": "6",
    "cpus-per-trial": "1",
}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts `study.run` in a process of its own, in the same session of tests always on the same cohort."""
    work = tmp_path_factory.mktemp("work")

    def begin(name, *options, **environment):
        variables = {**os.environ, "LETHE_CACHE": str(work / "cache"), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        given = [word for option, value in OPTIONS.items() for word in (f"--{option}", value)]
        command = [
            sys.executable,
            "-m",
            "study.run",
            "--no-evidence",
            *given,
            "--name",
            name,
            "--studies",
            str(work / "studies"),
        ]
        return subprocess.Popen(
            [*command, *options],
            env=variables | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=work,
        )

    begin.studies = work / "studies"
    return begin


def trials(start, name):
    return pd.read_parquet(start.studies / name / "trials").set_index("id").sort_index()


def ends(process, code=0):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def told(process, text, times=1):
    """What the process says up to the line that brings a text so many times."""
    said = ""
    while said.count(text) < times:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


METRICS = ["retain_dice", "forget_dice", "heldout_dice", "retain_mae", "forget_mae"]


@pytest.fixture(scope="module")
def alone(start):
    """The study on one machine."""
    ends(start("alone", "--set", "epochs=8", "--concurrent", "2"))
    return trials(start, "alone")


@pytest.mark.soak
def test_a_cluster_with_a_bucket_gives_what_one_machine_gives(start, cluster, alone, bucket_keys):
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **bucket_keys)
    client.create_bucket(Bucket="bucket")
    uri = f"s3://bucket/studies?region=us-east-1&scheme=http&endpoint_override={host}%3A{port}"
    try:
        keys = {name.upper(): value for name, value in bucket_keys.items()}
        output = ends(start("bucket", "--set", "epochs=8", "--address", cluster.address, "--storage", uri, **keys))
        kept = [found["Key"] for found in client.list_objects_v2(Bucket="bucket")["Contents"]]
    finally:
        server.stop()
    assert "on 4 nodes (3 CPUs, 0 GPUs): 3 trials at a time, 1 CPU each" in output
    pd.testing.assert_frame_equal(trials(start, "bucket")[METRICS], alone[METRICS], check_exact=True)
    assert any(key.startswith("studies/bucket/session-1/") for key in kept)
    assert not any("checkpoint_" in key for key in kept)  # the front's weights were fetched, the rest has gone
    front = trials(start, "bucket").query("on_front").index
    assert {path.parent.name for path in start.studies.glob("bucket/front/*/weights.safetensors")} == set(front)


@pytest.mark.soak
def test_losing_its_node_again_and_again_is_no_failure_of_a_trial(start):
    """As spot machines do it: more often than a trial may fail by itself."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    node, reached, output = nodes.add_node(num_cpus=1), 0, ""
    try:
        process = start("spot", "--trials", "1", "--set", "epochs=60", "--address", nodes.address)
        history = start.studies / "spot" / "history" / "_journal.jsonl"
        for _ in range(3):
            assert eventually(lambda reached=reached: newest_epoch(history) > reached, 300)
            nodes.remove_node(node, allow_graceful=False)
            node = nodes.add_node(num_cpus=1)
            output += told(process, "tried again after")
            reached = newest_epoch(history)  # of the lost node; the driver may hear of an epoch after its end
        output += ends(process)
    finally:
        nodes.shutdown()
    assert output.count("tried again after: the loss of its process or node (last report from ") == 3
    table = trials(start, "spot")
    assert (list(table.status), list(table.epochs_done)) == (["finished"], [60])
    epochs = pd.read_parquet(start.studies / "spot" / "history").groupby(["id", "epoch"]).size()
    assert (epochs == 1).all()


@pytest.mark.soak
def test_what_trials_share_lies_once_on_every_node(start, cluster):
    """The cohort and the baseline; each node's trials read the same copy."""
    cohort = 4 * 48 * 64 * 64 * (4 + 1)  # float32 images, uint8 labels
    baseline = sum(value.nbytes for value in med3d(10, 9).state_dict().values())
    size = ("--cohort", "phantom:48x64x64,4", "--references", "2", "--trials", "3")  # each node fits one
    process = start("bytes", *size, "--set", "epochs=20", "--address", cluster.address)
    history = start.studies / "bytes" / "history" / "_journal.jsonl"
    assert eventually(lambda: len(reported(history)) == 3, 300)
    ray.init(cluster.address, log_to_driver=False)
    try:
        assert used_bytes() == pytest.approx([cohort + baseline] * 3, rel=0.02)
    finally:
        ray.shutdown()
        process.kill()
        process.wait()


@pytest.mark.soak
def test_nodes_are_free_while_the_last_trial_runs(start, cluster):
    """4 trials in 3 places: while the fourth runs alone, two nodes have nothing to do, and could go."""
    process = start("tail", "--set", "epochs=40", "--trials", "4", "--address", cluster.address)
    told(process, "epochs,", 3)
    ray.init(cluster.address, log_to_driver=False)
    try:
        assert eventually(lambda: ray.available_resources().get("CPU") == 2, 20)
    finally:
        ray.shutdown()
    assert "places for 3 trials were busy" in ends(process)


@pytest.mark.soak
def test_trials_share_gpus_and_none_is_spread_over_two_nodes(start):
    """Two nodes of one GPU, as far as Ray knows, and a third of it for each trial: six trials at a time."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        nodes.add_node(num_cpus=4, num_gpus=1)
    try:
        options = ("--set", "epochs=8", "--gpus-per-trial", "0.333", "--address", nodes.address)
        output = ends(start("gpus", *options))
    finally:
        nodes.shutdown()
    assert "on 3 nodes (8 CPUs, 2 GPUs): 6 trials at a time, 1 CPU and 0.333 GPUs each" in output
    assert "torch sees none there" in output
    assert list(trials(start, "gpus").status.unique()) == ["finished"]


@pytest.mark.soak
def test_too_small_an_object_store_is_named_with_the_option_that_makes_it_larger(cluster):
    ray.init(cluster.address, log_to_driver=False)
    try:
        assert check_stores(10**6) is None
        largest = max(node["Resources"]["object_store_memory"] for node in ray.nodes() if node["Alive"])
        advice = check_stores(int(largest) + 1)
        assert "which is smaller on" in advice
        assert int(re.search(r"--object-store-memory=(\d+)", advice).group(1)) > largest
        with pytest.raises(StudyError, match="nor do they fit on the disk of /"):
            check_stores(10**15)
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_storage_that_cannot_be_written_is_refused_before_any_work(start, cluster):
    output = ends(start("refused", "--address", cluster.address, "--storage", "/proc/nowhere"), 2)
    assert re.search(r"error: /proc/nowhere/refused, where trials keep their state, cannot be written", output)


@pytest.mark.soak
def test_from_a_laptop_the_driver_runs_on_the_head(start):
    """Through Ray's client; Ctrl-C here is Ctrl-C there, and the same command goes on."""
    options = ("--set", "epochs=40", "--address", "ray://127.0.0.1:21001")
    cache = str(start.studies.parent / "cache")
    with head("--port=0", "--num-cpus=2", "--ray-client-server-port=21001", LETHE_CACHE=cache):
        assert eventually(lambda: answers(21001), 60)
        process = start("laptop", *options)
        told(process, "feasible ")
        process.send_signal(signal.SIGINT)
        assert "stopping: trials finish their epoch" in ends(process, 143)
        again = start("laptop", *options)
        assert again.stdout.readline().startswith("Study laptop")
        again.kill()  # the laptop leaves; the study goes on, and whoever asks again hears all of it
        output = ends(start("laptop", *options))
        assert output.count("Study laptop") == 1
    found = trials(start, "laptop")
    assert (len(found), list(found.status.unique())) == (6, ["finished"])


@contextlib.contextmanager
def head(*options, **environment):
    """A head as `ray start` leaves it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # short: sockets lie in it
    command = [Path(sys.executable).parent / "ray", "start", "--head", "--block", f"--temp-dir={folder}"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    variables |= {"GRPC_ENABLE_FORK_SUPPORT": "false"}  # else Ray's client server dies now and then
    process = subprocess.Popen(
        [*command, "--include-dashboard=false", *options],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert eventually(lambda: list(folder.glob("session_latest/gcs_server_port_*")), 60)
        yield
    finally:
        process.terminate()
        process.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def used_bytes():
    """Of the object stores of the nodes that trials run on."""
    workers = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    stats = [node_stats(node["NodeManagerAddress"], node["NodeManagerPort"]) for node in workers]
    return [found.store_stats.object_store_bytes_used for found in stats]


def reported(history):
    """The newest epoch of each trial, in a file that also has the references' epochs."""
    text = history.read_text() if history.exists() else ""
    written = [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]
    return {row["id"]: row["epoch"] for row in written if not row["id"].startswith(("baseline", "retrained"))}


def newest_epoch(history):
    return max(reported(history).values(), default=0)


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def eventually(condition, seconds=120):
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()
