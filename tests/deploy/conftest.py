"""Machines made of namespaces: each with an address, an SSH server, processes and temporary files of its own.

One more, the laptop, holds the network that they are on; when it ends, everything ends and nothing is left. All see
one folder, which stands for NFS.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
COHORT = ROOT.parent / "shared" / "data" / "Task04_Hippocampus"
VENV = Path(sys.prefix).resolve()
SHARED, HOME = "/srv/data", "/home/you"
PROGRAMS = ("unshare", "nsenter", "ip", "sshd", "ssh", "rsync", "pgrep")
NAMESPACES = ("--net", "--mount", "--pid", "--ipc", "--uts")
KEPT = sorted({ROOT, VENV, Path(sys.base_prefix).resolve()})

HIDE = """
set -e
for place in /tmp /run /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs $place; done
mkdir -p /srv/lab/disks/$ADDRESS
mount --bind /srv/lab/disks/$ADDRESS /home
number=0
for kept in $KEPT; do
    if [ ! -e $kept ]; then mkdir -p $kept; mount --bind /srv/kept/$number $kept; fi
    number=$((number + 1))
done
for file in passwd hosts resolv.conf; do mount --bind /srv/lab/$file /etc/$file; done
mkdir -p $HOME/.ssh /run/sshd
"""
"""Gives a namespace folders of its own for what machines do not share; what tests run from stays where it was."""

LAPTOP = f"""
mount -t tmpfs tmpfs /srv
mkdir /srv/lab /srv/data /srv/kept
mount --bind $LAB /srv/lab
mount --bind $FOLDER /srv/data
number=0
for kept in $KEPT; do mkdir /srv/kept/$number; mount --bind $kept /srv/kept/$number; number=$((number + 1)); done
{HIDE}
ip link set lo up
ip link add bridge type bridge
ip addr add $ADDRESS dev bridge
ip link set bridge up
cp /srv/lab/id_ed25519* $HOME/.ssh
touch /srv/lab/ready
while :; do sleep 1; done
"""

MACHINE = f"""
{HIDE}
hostname machine-${{ADDRESS##*.}}
until ip link show eth0 > /dev/null 2>&1; do sleep 0.1; done
ip link set lo up
ip addr add $ADDRESS/$BITS dev eth0
ip link set eth0 up
ip route add default via $GATEWAY
exec $(command -v sshd) -D -f /srv/lab/sshd_config
"""

SSHD = """
HostKey /srv/lab/host_key
AuthorizedKeysFile /srv/lab/authorized_keys
PermitRootLogin yes
PasswordAuthentication no
UsePAM no
StrictModes no
UseDNS no
MaxStartups 100
Subsystem sftp internal-sftp
"""


class Machines:
    """A network of machines, and the laptop that uses them.

    Attributes:
        folder: what all of them see as SHARED.
    """

    def __init__(self, gateway: str, lab: Path, seconds: int):
        """Start the laptop.

        Args:
            gateway: the laptop's address and the network's size, 192.168.1.1/24.
            lab: an empty folder.
            seconds: after which everything ends.
        """
        self._gateway, self.folder = IPv4Interface(gateway), lab / "shared"
        self._started: dict[str, subprocess.Popen] = {}
        self.folder.mkdir()
        for name in ("id_ed25519", "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", lab / name], check=True)
        shutil.copy(lab / "id_ed25519.pub", lab / "authorized_keys")
        (lab / "sshd_config").write_text(SSHD)
        (lab / "passwd").write_text(f"you:x:0:0::{HOME}:/bin/bash\n" + Path("/etc/passwd").read_text())
        hosts = [f"{address} machine-{str(address).rpartition('.')[2]}" for address in self._gateway.network.hosts()]
        (lab / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts[:254], ""]))
        (lab / "resolv.conf").write_text("")  # a name server that does not answer would make every login wait
        path = f"{VENV}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
        self.environment = {"HOME": HOME, "USER": "you", "PATH": path, "COLUMNS": "200", "LANG": "C.UTF-8"}
        setup = {"KEPT": " ".join(map(str, KEPT)), "LAB": str(lab), "FOLDER": str(self.folder)}
        setup |= {"ADDRESS": str(self._gateway), "BITS": str(self._gateway.network.prefixlen)}
        self._setup = {**self.environment, **setup, "GATEWAY": str(self._gateway.ip)}
        ends = ("setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after", "5", str(seconds))
        namespace = ("unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "bash", "-c")
        self._outer = subprocess.Popen([*ends, *namespace, LAPTOP], env=self._setup, start_new_session=True)
        wait_until((lab / "ready").exists, 20)
        self._laptop = inside(self._outer)

    def start(self, *addresses: str) -> None:
        """Switch machines on; their homes are as they left them."""
        for address in addresses:
            enter = ("nsenter", "--target", str(self._laptop.pid), "--all")
            namespace = ("unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "bash", "-c")
            process = subprocess.Popen(
                [*enter, *namespace, MACHINE], env={**self._setup, "ADDRESS": address}, start_new_session=True
            )
            self._started[address] = process
            wire, peer = self._wire(address), str(inside(process).pid)
            card = "02:00:" + IPv4Address(address).packed.hex(":")  # the same again, as the others remember it
            self._link("add", wire, "type", "veth", "peer", "name", "eth0", "address", card, "netns", peer)
            self._link("set", wire, "master", "bridge", "up")
        for address in addresses:
            wait_until(lambda address=address: self.run("true", on=address).returncode == 0, 30)

    def kill(self, address: str) -> None:
        """End all processes of a machine at once."""
        process = self._started.pop(address)
        inside(process).kill()
        process.wait(10)

    def cut(self, address: str) -> None:
        """Take a machine off the network; its processes go on."""
        self._link("set", self._wire(address), "down")

    def mend(self, address: str) -> None:
        """Put it on the network again."""
        self._link("set", self._wire(address), "up")

    def processes(self, address: str) -> list[str]:
        """What runs on a machine beside its SSH server: the processes' command lines."""
        found = []
        for process in inside(self._started[address]).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                found.append(" ".join(process.cmdline()))
        return [line for line in found if not line.startswith("sshd")]

    def popen(self, command: str, **options: object) -> subprocess.Popen:
        """Start a command on the laptop, in the folder of the project."""
        enter = ("nsenter", "--target", str(self._laptop.pid), "--all", f"--wd={ROOT}")
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, "text": True}
        return subprocess.Popen([*enter, "bash", "-c", command], env=self.environment, **{**output, **options})

    def run(self, command: str, on: str | None = None, seconds: float = 240) -> subprocess.CompletedProcess:
        """Run a command on the laptop, or from there by SSH on a machine, as its user would."""
        if on:
            options = (
                "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=2"
            )
            command = f"ssh -i /srv/lab/id_ed25519 {options} you@{on} {shlex.quote(command)}"
        process = self.popen(command)
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"{command} takes more than {seconds} s: {process.communicate()[0]}")
        return subprocess.CompletedProcess(command, process.returncode, output)

    def end(self) -> None:
        """End everything."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._laptop.kill()
        for process in (*self._started.values(), self._outer):
            process.wait(20)

    def _link(self, *words: str) -> None:
        subprocess.run(["nsenter", "--target", str(self._laptop.pid), "--net", "ip", "link", *words], check=True)

    def _wire(self, address: str) -> str:
        return "wire" + "-".join(address.split(".")[2:])


def inside(process: subprocess.Popen) -> psutil.Process:
    """The first process of the namespace that a process has made."""
    found = psutil.Process(process.pid)
    while found.name() != "bash" and not found.name().startswith("sshd"):
        children = found.children()
        if children:
            found = children[0]
        time.sleep(0.02)
    return found


def wait_until(condition: Callable[[], object], seconds: float) -> float:
    """Wait for a condition; gives the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds, f"not after {seconds} s"
        time.sleep(0.2)
    return time.monotonic() - started


def lacking() -> str:
    """Why there can be no machines here, if so."""
    paths = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if not shutil.which(program, path=paths)]
    if missing:
        return f"not installed: {', '.join(missing)} (openssh-server, rsync, iproute2, procps)"
    made = subprocess.run(["unshare", *NAMESPACES, "--fork", "ip", "link", "add", "name", "bridge", "type", "bridge"])
    return "" if made.returncode == 0 else "namespaces and bridges need root"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Sequence[str], int], Machines]]:
    """Makes machines that live as long as the module's tests."""
    reason = lacking()
    if reason:
        pytest.skip(reason)
    with contextlib.ExitStack() as made:

        def make(gateway: str, addresses: Sequence[str], seconds: int) -> Machines:
            machines = Machines(gateway, tmp_path_factory.mktemp("lab"), seconds)
            made.callback(machines.end)
            machines.start(*addresses)
            return machines

        yield make


@pytest.fixture(scope="session")
def shipped() -> Callable[[str, Mapping[str, str]], str]:
    """Reads a shipped cluster file, with texts in it replaced."""

    def read(name: str, replaced: Mapping[str, str]) -> str:
        text = (ROOT / name).read_text()
        for old, new in replaced.items():
            assert old in text, old
            text = text.replace(old, new)
        return text

    return read


@pytest.fixture(scope="session", name="wait_until")
def _wait_until() -> Callable[[Callable[[], object], float], float]:
    return wait_until
