"""Ray, started on this machine or joined, and what a study needs of its nodes."""

import contextlib
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import ray
from pyarrow.fs import FileSystem, FileType
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.cluster.nodes import Node, machines
from study.cluster.shares import Resources, share
from study.cluster.storage import Storage, below
from study.records.failure import StudyError
from study.records.settings import StudySettings

_PATIENCE = 10.0
"""Seconds to wait for a head's answer."""

_SPARE = 1.2
"""How much larger than what trials share an object store should be: results and reports lie in it too."""


class ClusterError(StudyError):
    """A cluster that cannot run the study."""


@contextlib.contextmanager
def cluster(settings: StudySettings, tell: Callable[[str], None]) -> Iterator[list[Node]]:
    """While entered, Ray is there; gives the nodes that it has or, asked for more, would have.

    Args:
        settings: of the study.
        tell: hears what is waited for, and what may go wrong.

    Raises:
        ClusterError: there is no such cluster.
    """
    options: dict[str, Any] = {} if settings.address else {"include_dashboard": False}
    level = "INFO" if settings.verbose else "ERROR"
    join(settings.address, log_to_driver=settings.verbose, logging_level=level, **options)
    try:
        yield machines(tell, _asked(settings))
    finally:
        ray.shutdown()


def trial_share(settings: StudySettings, there: Sequence[Node]) -> Resources:
    """What each trial gets of the nodes; `auto` is nothing asked for.

    Raises:
        ClusterError: no node has what a trial asks for.
    """
    cpus = None if settings.cpus_per_trial == "auto" else settings.cpus_per_trial
    gpus = None if settings.gpus_per_trial == "auto" else settings.gpus_per_trial
    try:
        return share(there, settings.concurrent, cpus, gpus)
    except ValueError as error:
        raise ClusterError(str(error)) from error


def join(address: str = "", **options: Any) -> None:
    """Start Ray, or join the one at an address.

    Args:
        address: HOST:PORT or ray://HOST:PORT; if it is empty, RAY_ADDRESS is asked.
        options: of ray.init.

    Raises:
        ClusterError: none answers there.
    """
    check_address(address)
    try:
        with _at_home():
            ray.init(address or None, **options)
    except (OSError, ValueError) as error:
        raise _nobody(address, error) from error


@contextlib.contextmanager
def _at_home() -> Iterator[None]:
    """Be where Lethe is installed: workers import first what lies in the folder in which Ray was started."""
    before = Path.cwd()
    os.chdir(Path(__file__).parents[2])
    try:
        yield
    finally:
        os.chdir(before)


def check_address(address: str) -> None:
    """Whether anybody listens where `join` would; tells within seconds, where Ray tries for minutes.

    Raises:
        ClusterError: nobody does.
    """
    host, _, port = _found(address)[1].removeprefix("ray://").rpartition(":")
    try:
        if host:
            socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise _nobody(address, error) from error


def _found(address: str) -> tuple[str, str]:
    """Where the address of a cluster was given, and that address; "" for one of this machine's own."""
    return ("--address", address) if address else ("RAY_ADDRESS", os.environ.get("RAY_ADDRESS", ""))


def _nobody(address: str, error: Exception) -> ClusterError:
    source, there = _found(address)
    return ClusterError(
        f"{source}: no Ray cluster answers at {there}: {str(error).splitlines()[0]}"
        " (if its head has a ~/.ray/auth_token, this machine needs the same)"
    )


def check_stores(size: int) -> str | None:
    """Whether every node can hold what all trials share, in its memory or at least on its disk.

    Args:
        size: bytes of the cohort and of the baseline, which lie once in each node's object store.

    Returns:
        Advice, where a node must read it from its disk.

    Raises:
        ClusterError: the disk of such a node is too small for it as well.
    """
    stores = {node["NodeManagerAddress"]: node["Resources"].get("object_store_memory", 0) for node in _alive()}
    small = [f"{address} ({_gib(there)})" for address, there in stores.items() if there < size]
    if not small:
        return None
    advice = (
        f"cohort and baseline take {_gib(size)} of every node's object store, which is smaller on {', '.join(small)}:"
        f" start Ray there with --object-store-memory={ceil(size * _SPARE)}"
    )
    disks = {address: disk for address, disk in _by_node(_spilling).items() if stores.get(address, 0) < size}
    full = [f"{folder} ({_gib(free)} free, {address})" for address, (folder, free) in disks.items() if free < size]
    if full:
        raise ClusterError(f"{advice}; nor do they fit on the disk of {', '.join(full)}")
    return f"{advice}; until then they are read from its disk"


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _asked(settings: StudySettings) -> list[Node]:
    """The nodes that would hold the trials that are asked for, one each."""
    cpus, gpus = settings.cpus_per_trial, settings.gpus_per_trial
    one = Node(cpus if isinstance(cpus, int) else 1, ceil(gpus) if isinstance(gpus, int | float) else 0)
    return [one] * (settings.concurrent or 0)


def check_storage(storage: Storage) -> None:
    """Write a file and let every node look for it.

    Raises:
        ClusterError: it cannot be written, or a node does not see it.
    """
    name = f".seen-{uuid.uuid4().hex}"
    try:
        storage.filesystem.create_dir(storage.root, recursive=True)
        with storage.filesystem.open_output_stream(f"{storage.root}/{name}") as file:
            file.write(b"seen")
        blind = [address for address, seen in _by_node(_sees, below(storage.uri, name)).items() if not seen]
        storage.filesystem.delete_file(f"{storage.root}/{name}")
    except OSError as error:
        raise ClusterError(f"{storage.uri}, where trials keep their state, cannot be written: {error}") from error
    if blind:
        raise ClusterError(
            f"{', '.join(blind)} cannot see {storage.uri}, where trials keep their state:"
            " give --storage a folder that all nodes share, or s3://BUCKET/FOLDER"
        )


def _by_node(look: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """What a function gives on each node, by the nodes' addresses."""
    task, asked = ray.remote(num_cpus=0)(look), {}
    for node in _alive():
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[node["NodeManagerAddress"]] = task.options(scheduling_strategy=there).remote(*arguments)
    return {address: ray.get(answer) for address, answer in asked.items()}


def _sees(mark: str) -> bool:
    try:
        filesystem, path = FileSystem.from_uri(mark)
        return bool(filesystem.get_file_info(path).type == FileType.File)
    except OSError:
        return False


def _spilling() -> tuple[str, int]:
    """Where this node spills its object store to, and the bytes that are free there."""
    folder = ray._private.worker.global_worker.node.get_session_dir_path()
    return folder, shutil.disk_usage(folder).free
