"""The Kubernetes manifests, of the schemas to the letter: Kubernetes and KubeRay drop a misspelled field silently."""

import contextlib
import copy
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERAY = jsonschema.Draft202012Validator(yaml.safe_load((Path(__file__).parent / "kuberay.yaml").read_text()))
MANIFESTS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "deploy").glob("*.yaml"))}
CLUSTERS = {"raycluster": MANIFESTS["raycluster"]["spec"], "rayjob": MANIFESTS["rayjob"]["spec"]["rayClusterSpec"]}
KUBERNETES = "1.37"
GIBIBYTES = re.compile(r"(\d+)Gi$")


def templates(cluster):
    return [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def check(manifest):
    """Raises a ValidationError for whatever Kubernetes or KubeRay would refuse or drop."""
    if manifest["apiVersion"] == "v1":
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    KUBERAY.validate(manifest)
    spec = manifest["spec"]
    for pod in templates(spec.get("rayClusterSpec", spec)):
        part = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": manifest["metadata"], "template": pod}
        kubernetes_validate.validate(part, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_it(name):
    check(MANIFESTS[name])


def places(value, path=()):
    """The path of every field of a manifest, but of those whose names are free."""
    if path and path[-1] in ("requests", "limits", "rayStartParams"):
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict):
            yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


@pytest.mark.slow
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_misspelled_field_is_refused_wherever_it_is(name):
    """Beside the right one, so that nothing else is wrong."""
    paths = list(places(MANIFESTS[name]))
    assert ("metadata", "name") in paths
    for path in paths:
        wrong = copy.deepcopy(MANIFESTS[name])
        holder = wrong
        for step in path[:-1]:
            holder = holder[step]
        holder[f"{path[-1]}s"] = holder[path[-1]]
        with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
            check(wrong)


@pytest.mark.parametrize(
    ("group", "field", "value"),
    [
        ("headGroupSpec", "rayStartParams", {"num-cpus": 0}),  # Ray's options are texts
        ("autoscalerOptions", "version", 2),
        ("authOptions", "mode", "tokens"),
    ],
)
def test_a_value_of_another_kind_is_refused(group, field, value):
    wrong = copy.deepcopy(MANIFESTS["raycluster"])
    wrong["spec"][group][field] = value
    with pytest.raises(jsonschema.ValidationError):
        check(wrong)


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
def test_the_head_runs_no_trials_and_workers_come_only_when_needed(cluster):
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["enableInTreeAutoscaling"]
    for group in cluster["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"]
        assert int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) >= 1
    assert cluster["autoscalerOptions"]["version"] == "v2"
    assert {pod["spec"]["restartPolicy"] for pod in templates(cluster)} == {"Never"}  # or idle pods start again


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
def test_all_nodes_share_the_volume_and_ray_has_its_memory(cluster):
    claim = MANIFESTS["volume"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in templates(cluster):
        (container,) = pod["spec"]["containers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        assert volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        memory = volumes[mounts["/dev/shm"]]["emptyDir"]
        store, whole = (
            int(GIBIBYTES.match(size)[1])
            for size in (memory["sizeLimit"], container["resources"]["limits"]["memory"])
        )
        assert memory["medium"] == "Memory"
        assert 0.3 * whole <= store < whole  # Ray's object store, by default
        assert {"name": "LETHE_CACHE", "value": "/data/cache"} in container["env"]


@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
def test_ray_asks_for_a_token_and_is_of_the_pinned_version(cluster):
    pins = dict(re.findall(r"^(\S+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == pins["ray"]
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    images = {one["image"] for pod in templates(cluster) for one in pod["spec"]["containers"]}
    assert images == {f"REGISTRY/lethe:{version}"}


def test_mlflow_answers_to_its_pod_alone():
    head, *workers = templates(CLUSTERS["raycluster"])
    (server,) = head["spec"]["initContainers"]
    assert re.findall(r"--host (\S+)", server["args"][0]) == ["127.0.0.1"]
    assert "ports" not in server
    assert server["restartPolicy"] == "Always"
    assert not any("initContainers" in worker["spec"] for worker in workers)
    assert "PASSWORD" not in yaml.safe_dump(MANIFESTS["raycluster"])  # it comes from a secret


@pytest.mark.slow
def test_the_heads_mlflow_shows_the_fronts(tmp_path):
    (server,) = MANIFESTS["raycluster"]["spec"]["headGroupSpec"]["template"]["spec"]["initContainers"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {one["name"]: one["value"].replace("/data", str(tmp_path)) for one in server["env"] if "value" in one}
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        [*server["command"], server["args"][0].replace("--port 5000", f"--port {port}")],
        env={**os.environ, **given, "PATH": tools, "LETHE_TRACKING": f"sqlite:///{tmp_path / 'mlflow.db'}"},
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        for _ in range(1200):
            assert process.poll() is None
            with contextlib.suppress(OSError):
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/lethe/").read().decode()
                break
            time.sleep(0.1)
        assert "<title>" in page
        assert (tmp_path / "mlflow.db").exists()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_entry_point_is_a_command_of_this_version():
    from study.run import parse

    python, flag, module, *arguments = MANIFESTS["rayjob"]["spec"]["entrypoint"].split()
    assert (python, flag, module) == ("python", "-m", "study.run")
    settings = parse(arguments)
    assert settings.studies == Path("/data/studies")
    assert settings.space == "noisy_label"
