"""Ray, started on this machine or joined, what a study needs of its nodes, and whether its head still answers."""

import contextlib
import os
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import ray
from pyarrow.fs import FileSystem, FileType
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.cluster.nodes import Node, Resources, machines, share
from study.cluster.ray_internals import session_folder
from study.cluster.storage import Storage, below
from study.records.failure import StudyError
from study.records.settings import StudySettings

_PATIENCE = 10.0
"""Seconds to wait for a head's answer."""

_EVERY, _SILENT = 2.0, 15.0
"""Seconds: between two looks at the head, and without an answer until it counts as lost. Ray gives up after 60."""

LOST = "Ray's head process is gone; all epochs reported so far are recorded, and the same command continues from them"

_SPARE = 1.2
"""How much larger than what trials share an object store should be: results and reports lie in it too."""


@contextlib.contextmanager
def cluster(settings: StudySettings, tell: Callable[[str], None]) -> Iterator[list[Node]]:
    """While entered, Ray runs; gives the nodes that it has and those that it would start.

    Without an address, a Ray that this process has started itself is used, and left running. `tell` hears what is
    waited for.

    Raises:
        StudyError: there is no such cluster.
    """
    theirs = ray.is_initialized() and not settings.address
    if not theirs:
        options: dict[str, Any] = {} if settings.address else {"include_dashboard": False}
        level = "INFO" if settings.verbose else "ERROR"
        join(settings.address, log_to_driver=settings.verbose, logging_level=level, **options)
    try:
        yield machines(tell, _asked(settings))
    finally:
        if not theirs:
            ray.shutdown()


@contextlib.contextmanager
def watched_head(lost: Callable[[str], None]) -> Iterator[None]:
    """While entered, call `lost` with the reason once if the head does not answer any more: Ray would say nothing."""
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    left = threading.Event()

    def watch() -> None:
        silent = 0.0
        while not left.wait(_EVERY):
            try:
                socket.create_connection((host, int(port)), _EVERY).close()
                silent = 0.0
            except OSError:
                silent += _EVERY
            if silent >= _SILENT:
                lost(LOST)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()


def trial_share(settings: StudySettings, nodes: Sequence[Node]) -> Resources:
    """What each trial gets of the nodes. `auto` asks for nothing: it is settled later, by `packed`.

    Raises:
        StudyError: no node has what a trial asks for.
    """
    cpus = None if settings.cpus_per_trial == "auto" else settings.cpus_per_trial
    gpus = None if settings.gpus_per_trial == "auto" else settings.gpus_per_trial
    return share(nodes, settings.concurrent, cpus, gpus)


def join(address: str = "", **options: Any) -> None:
    """Start Ray, or join the one at an address.

    Args:
        address: HOST:PORT or ray://HOST:PORT; if it is empty, RAY_ADDRESS is asked.
        options: of ray.init.

    Raises:
        StudyError: none answers there.
    """
    check_address(address)
    if ray.is_initialized():
        raise StudyError("--address: this process has joined a Ray already: call ray.shutdown() first")
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
    """Check within seconds that anybody listens where `join` would look, since Ray tries for minutes.

    Raises:
        StudyError: nobody does.
    """
    host, _, port = _address_of(address)[1].removeprefix("ray://").rpartition(":")
    try:
        if host:
            socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise _nobody(address, error) from error


def _address_of(address: str) -> tuple[str, str]:
    """The option or variable that names the cluster, and the address it gives; "" for one of this machine's own."""
    return ("--address", address) if address else ("RAY_ADDRESS", os.environ.get("RAY_ADDRESS", ""))


def _nobody(address: str, error: Exception) -> StudyError:
    source, address = _address_of(address)
    return StudyError(
        f"{source}: no Ray cluster answers at {address}: {str(error).splitlines()[0]}"
        " (if its head has a ~/.ray/auth_token, this machine needs the same)"
    )


def check_stores(size: int) -> str | None:
    """Whether every node can hold what all trials share, in its memory or at least on its disk.

    Args:
        size: bytes of the cohort and of the baseline, which lie once in each node's object store.

    Returns:
        Advice, where a node must read it from its disk.

    Raises:
        StudyError: the disk of such a node is too small for it as well.
    """
    stores = {node["NodeManagerAddress"]: node["Resources"].get("object_store_memory", 0) for node in _alive()}
    small = [f"{address} ({_gib(store)})" for address, store in stores.items() if store < size]
    if not small:
        return None
    advice = (
        f"cohort and baseline take {_gib(size)} of every node's object store, which is smaller on {', '.join(small)}:"
        f" start Ray there with --object-store-memory={ceil(size * _SPARE)}"
    )
    disks = _by_node(_disk, {node["NodeID"]: session_folder(node) for node in _alive()})
    disks = {address: disk for address, disk in disks.items() if stores.get(address, 0) < size}
    full = [f"{folder} ({_gib(free)} free, {address})" for address, (folder, free) in disks.items() if free < size]
    if full:
        raise StudyError(f"{advice}; nor do they fit on the disk of {', '.join(full)}")
    return f"{advice}; until then they are read from its disk"


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _asked(settings: StudySettings) -> list[Node]:
    """A node for each trial that the user wants at a time, as large as a trial."""
    cpus, gpus = settings.cpus_per_trial, settings.gpus_per_trial
    node = Node(cpus if isinstance(cpus, int) else 1, ceil(gpus) if isinstance(gpus, int | float) else 0)
    return [node] * (settings.concurrent or 0)


def check_storage(storage: Storage) -> None:
    """Write a file and let every node look for it.

    Raises:
        StudyError: it cannot be written, or a node does not see it.
    """
    name = f".seen-{uuid.uuid4().hex}"
    try:
        storage.filesystem.create_dir(storage.root, recursive=True)
        with storage.filesystem.open_output_stream(f"{storage.root}/{name}") as file:
            file.write(b"seen")
        blind = [address for address, seen in _by_node(_sees, below(storage.uri, name)).items() if not seen]
        storage.filesystem.delete_file(f"{storage.root}/{name}")
    except OSError as error:
        raise StudyError(f"{storage.uri}, where trials keep their state, cannot be written: {error}") from error
    if blind:
        raise StudyError(
            f"{', '.join(blind)} cannot see {storage.uri}, where trials keep their state:"
            " give --storage a folder that all nodes share, or s3://BUCKET/FOLDER"
        )


def _by_node(look: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """What a function gives on each node, by the nodes' addresses."""
    task, answers = ray.remote(num_cpus=0)(look), {}
    for node in _alive():
        on_it = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        answers[node["NodeManagerAddress"]] = task.options(scheduling_strategy=on_it).remote(*arguments)
    return {address: ray.get(answer) for address, answer in answers.items()}


def _sees(mark: str) -> bool:
    try:
        filesystem, path = FileSystem.from_uri(mark)
        return bool(filesystem.get_file_info(path).type == FileType.File)
    except OSError:
        return False


def _disk(sessions: dict[str, str]) -> tuple[str, int]:
    """Where this node spills its object store to, by the folders of all nodes' ids, and the bytes free there."""
    folder = sessions[ray.get_runtime_context().get_node_id()]
    return folder, shutil.disk_usage(folder).free
