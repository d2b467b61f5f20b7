"""The shipped cluster files: read by Ray, and taken to a fake of the AWS API."""

import copy
import os
import re
from pathlib import Path

import boto3
import botocore.session
import pytest
import yaml
from moto.server import ThreadedMotoServer
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

ROOT = Path(__file__).parents[2]
AWS, SSH = (yaml.safe_load((ROOT / name).read_text()) for name in ("cluster.yaml", "cluster.ssh.yaml"))
RAY = next(
    line.partition("==")[2] for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:5] == "ray=="
)


def commands(config):
    return [line for name, lines in config.items() if name.endswith("_commands") for line in lines]


@pytest.mark.parametrize("config", [AWS, SSH], ids=["aws", "ssh"])
def test_ray_reads_it(config):
    validate_config(prepare_config(copy.deepcopy(config)))


@pytest.mark.parametrize("config", [AWS, SSH], ids=["aws", "ssh"])
def test_servers_answer_to_their_machine_alone(config):
    text = "\n".join(commands(config))
    assert "0.0.0.0" not in text
    assert re.findall(r"--dashboard-host=(\S+)", text) == ["127.0.0.1"]
    assert all(host == "127.0.0.1" for host in re.findall(r"--host (\S+)", text))


@pytest.mark.parametrize("group", AWS["available_node_types"])
def test_aws_knows_every_field_of_a_machine(group):
    """Ray's schema lets any name pass below node_config."""
    fields = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    wanted = AWS["available_node_types"][group]["node_config"]
    assert set(wanted) <= set(fields.members)
    assert set(wanted["BlockDeviceMappings"][0]["Ebs"]) <= set(
        fields.members["BlockDeviceMappings"].member.members["Ebs"].members
    )


def test_the_head_runs_no_trials_and_workers_come_only_when_needed():
    groups = AWS["available_node_types"]
    assert groups[AWS["head_node_type"]]["resources"] == {"CPU": 0, "GPU": 0}
    workers = {name: group for name, group in groups.items() if name != AWS["head_node_type"]}
    assert all(group["min_workers"] == 0 < group["max_workers"] <= AWS["max_workers"] for group in workers.values())
    spot = {name: "InstanceMarketOptions" in group["node_config"] for name, group in workers.items()}
    assert spot == {"spot": True, "on_demand": False}


def test_ray_takes_spot_machines_first():
    """Asked of Ray's own scheduler; without a priority it takes one of each kind."""
    config = copy.deepcopy(AWS)
    for kind in ("spot", "on_demand"):
        config["available_node_types"][kind]["resources"] = {"CPU": 8, "GPU": 1}  # of a g5.2xlarge
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=AutoscalingConfig(config, skip_content_hash=True).get_node_type_configs(),
        max_num_nodes=5,
        resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make({"GPU": 1})] * 2),
    )
    launched = ResourceDemandScheduler(None).schedule(request).to_launch
    assert [(one.instance_type, one.count) for one in launched] == [("spot", 2)]


def test_the_image_is_of_the_pinned_ray():
    assert AWS["docker"]["image"] == f"rayproject/ray:{RAY}-py311-gpu"
    assert f"ARG RAY={RAY}-py311-gpu" in (ROOT / "Dockerfile").read_text()
    assert yaml.safe_load((ROOT / "deploy/rayjob.yaml").read_text())["spec"]["rayClusterSpec"]["rayVersion"] == RAY


@pytest.fixture(scope="module")
def aws():
    """moto's AWS, to which boto3 and Ray's provider talk."""
    server = ThreadedMotoServer(port=0, verbose=False)
    before = dict(os.environ)
    os.environ |= {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "AWS_DEFAULT_REGION": AWS["provider"]["region"]}
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    server.start()
    host, port = server.get_host_and_port()
    os.environ["AWS_ENDPOINT_URL"] = f"http://{host}:{port}"
    yield
    server.stop()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def requested(aws, tmp_path_factory):
    """What AWS has after Ray has asked for machines: instances, security groups by id, volumes by id."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))  # where Ray puts the key that it makes
    (Path(os.environ["HOME"]) / ".ssh").mkdir()
    config = bootstrap_aws(prepare_config(copy.deepcopy(AWS)))
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for group in AWS["available_node_types"]:
        tags = {"ray-node-type": "head" if group == "head" else "worker", "ray-user-node-type": group}
        provider.create_node(config["available_node_types"][group]["node_config"], tags, 1)
    ec2 = boto3.client("ec2")
    found = [machine for one in ec2.describe_instances()["Reservations"] for machine in one["Instances"]]
    groups = {group["GroupId"]: group for group in ec2.describe_security_groups()["SecurityGroups"]}
    volumes = {volume["VolumeId"]: volume for volume in ec2.describe_volumes()["Volumes"]}
    return found, groups, volumes


def tags(machine):
    return {tag["Key"]: tag["Value"] for tag in machine["Tags"]}


@pytest.mark.slow
def test_aws_is_asked_for_these_machines(requested):
    machines, _, volumes = requested
    by_type = {}
    for machine in machines:
        by_type.setdefault(tags(machine)["ray-user-node-type"], []).append(machine)
    assert {name: len(found) for name, found in by_type.items()} == {"head": 1, "spot": 1, "on_demand": 1}
    assert {machine["InstanceType"] for machine in by_type["head"]} == {"m6i.xlarge"}
    assert {machine["InstanceType"] for machine in by_type["spot"] + by_type["on_demand"]} == {"g5.2xlarge"}
    assert all(machine.get("InstanceLifecycle") == "spot" for machine in by_type["spot"])
    assert not any("InstanceLifecycle" in machine for machine in by_type["head"] + by_type["on_demand"])
    assert all(
        tags(machine).items() >= {"project": "lethe", "ray-cluster-name": "lethe"}.items() for machine in machines
    )
    for machine in machines:
        (disk,) = machine["BlockDeviceMappings"]
        assert volumes[disk["Ebs"]["VolumeId"]]["Size"] == 200


@pytest.mark.slow
def test_nobody_outside_reaches_more_than_ssh(requested):
    machines, groups, _ = requested
    used = {group["GroupId"] for machine in machines for group in machine["SecurityGroups"]}
    assert used
    for group in used:
        for rule in groups[group]["IpPermissions"]:
            if rule["IpRanges"]:
                assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 22, 22)
