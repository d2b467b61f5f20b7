"""`ray up cluster.yaml` without AWS: a fake of its API hands out addresses, which machines of one's own have."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.soak
ROOT = Path(__file__).parents[2]
GATEWAY = "172.31.0.1"
HEAD, *WORKERS = MACHINES = "172.31.0.4", "172.31.0.5", "172.31.0.6"
"""The first three addresses that the fake hands out."""
ACCESS = {
    "AWS_ENDPOINT_URL": f"http://{GATEWAY}:5555",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "eu-central-1",
}
UP = "/srv/data/cluster.yaml"
STUDY = (
    "--space noisy_label --cohort phantom:24x32x32,6 --forget-count 1 --heldout-count 1 --baseline-epochs 3"
    " --references 1 --no-evidence --sampler random --cpus-per-trial 1 --trials 8 --set epochs=40"
)
ASK = """
import json, boto3
ec2 = boto3.client("ec2")
found = [one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]]
for one in found:
    said = ec2.describe_instance_attribute(InstanceId=one["InstanceId"], Attribute="userData").get("UserData", {})
    one["UserData"] = said.get("Value")
print(json.dumps(found, default=str))
"""


@pytest.fixture(scope="module")
def machines(network, shipped):
    """Three machines that wait for AWS to name them, and the fake of AWS on the laptop."""
    found = network(f"{GATEWAY}/16", MACHINES, 1200)
    replaced = {
        "/home/ray": "/home/you",
        "/data": "/srv/data",
        "BUCKET": "bucket",
        "ssh_user: ubuntu": "ssh_user: you",
    }
    config = yaml.safe_load(shipped("cluster.yaml", replaced))
    image = config.pop("docker")  # its commands run on the machines themselves, with the variables that it has
    variables = [option.removeprefix("--env=") for option in image["run_options"] if option.startswith("--env=")]
    variables += [f"{name}={value}" for name, value in ACCESS.items()]
    variables += ["PYTHONPATH=/home/you/lethe", f"PATH={Path(sys.prefix).resolve()}/bin:$PATH"]
    config["setup_commands"] = [f"echo 'export {' '.join(variables)}' > ~/.bashrc"]
    config["provider"]["use_internal_ips"] = True
    config["idle_timeout_minutes"] = 0.5
    config["max_workers"] = len(WORKERS)
    config["initialization_commands"] = ["mkdir -p /srv/data/cache /srv/data/studies"]
    (found.folder / "cluster.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (found.folder / "ask.py").write_text(ASK)
    found.environment |= ACCESS
    found.popen(
        "MOTO_IAM_LOAD_MANAGED_POLICIES=true moto_server -H 0.0.0.0 -p 5555",
        stdout=(found.folder / "moto.log").open("w"),
    )
    return found


@pytest.fixture(scope="module")
def cluster(machines, wait_until):
    """The head, once `ray up` has asked AWS for it."""
    assert machines.run("ray get-auth-token --generate").returncode == 0
    wait_until(lambda: machines.run("aws s3 mb s3://bucket").returncode == 0, 60)
    raising = machines.popen(f"ray up -y {UP} > /srv/data/up.log 2>&1")
    key = "ssh-keygen -y -f ~/.ssh/ray-autoscaler_eu-central-1.pem >> /srv/lab/authorized_keys"  # as AWS would
    wait_until(lambda: machines.run(key).returncode == 0, 180)
    assert raising.wait(240) == 0, (machines.folder / "up.log").read_text()
    return machines


def instances(machines, state="running"):
    """What AWS has, by address."""
    asked = machines.run("python /srv/data/ask.py").stdout
    found = [one for one in json.loads(asked.splitlines()[-1]) if one["State"]["Name"] == state]
    return {one["PrivateIpAddress"]: one for one in found}


def tags(machine):
    return {tag["Key"]: tag["Value"] for tag in machine["Tags"]}


def nodes(machines):
    """Of the workers that Ray has: their kinds, in words."""
    status = machines.run(f"ray exec {UP} 'ray status'").stdout
    return status.partition("Active:")[2].partition("Pending:")[0]


def test_ray_up_asks_for_the_head_alone(cluster):
    ((address, head),) = instances(cluster).items()
    assert address == HEAD
    assert (head["InstanceType"], tags(head)["ray-node-type"]) == ("m6i.xlarge", "head")
    assert "InstanceLifecycle" not in head
    assert tags(head).items() >= {"project": "lethe", "ray-cluster-name": "lethe"}.items()


def test_aws_tells_what_the_workers_cost(cluster):
    which = "--instance-types g5.2xlarge --product-descriptions Linux/UNIX --max-items 3"
    asked = cluster.run(f"aws ec2 describe-spot-price-history {which}")
    assert asked.stdout.count('"SpotPrice"') == 3


def test_a_cohort_is_sent_to_the_head(cluster):
    done = cluster.run(f"ray rsync-up {UP} {ROOT}/docs/ /home/you/COHORT/")
    assert done.returncode == 0, done.stdout
    assert cluster.run("ls ~/COHORT", on=HEAD).stdout == cluster.run(f"ls {ROOT}/docs").stdout


def test_workers_come_for_a_study_and_go_after(cluster, wait_until):
    where = "--storage s3://bucket/studies --tracking-uri http://127.0.0.1:5000"
    options = f"{STUDY} --name aws {where}"
    said = cluster.folder / "study.log"
    study = cluster.popen(f"ray submit {UP} study/run.py {options}", stdout=said.open("w"))
    took = wait_until(lambda: "2 spot" in nodes(cluster) or study.poll() is not None, 400)
    assert study.poll() is None, said.read_text()[-5000:]
    print(f"two spot workers {took:.0f} s after the study was submitted")
    found = instances(cluster)
    workers = [one for address, one in found.items() if address in WORKERS]
    assert set(found) == set(MACHINES)
    assert {one["InstanceType"] for one in workers} == {"g5.2xlarge"}
    assert {one["InstanceLifecycle"] for one in workers} == {"spot"}
    assert all(one["IamInstanceProfile"]["Arn"].endswith("ray-autoscaler-v1") for one in workers)
    assert all(tags(one).items() >= {"project": "lethe", "ray-user-node-type": "spot"}.items() for one in workers)
    assert not any(one["UserData"] for one in found.values())  # keys come from the role, commands over SSH
    assert study.wait(400) == 0, said.read_text()[-5000:]
    assert "on 3 nodes (16 CPUs, 2 GPUs): 2 trials at a time, 1 CPU and 1 GPU each" in said.read_text()
    took = wait_until(lambda: set(instances(cluster)) == {HEAD}, 240)
    print(f"workers ended {took:.0f} s after the study")
    kept = cluster.run("aws s3 ls --recursive s3://bucket").stdout
    assert re.search(r" mlartifacts/\S+/pareto.html", kept)
    assert " studies/aws/session-1/" in kept


def test_ray_down_ends_all(cluster):
    done = cluster.run(f"ray down -y {UP}")
    assert done.returncode == 0, done.stdout
    assert instances(cluster) == {}
    asked = cluster.run(
        "aws ec2 describe-instances --filters Name=tag:project,Values=lethe"
        " --query 'Reservations[].Instances[].State.Name' --output text"
    )
    assert set(asked.stdout.split()) == {"terminated"}
