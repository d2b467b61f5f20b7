"""The placement groups of this driver's trials, which the whole cluster can tell from those of other drivers."""

from uuid import uuid4

import ray
from ray import PlacementGroupID
from ray.tune import PlacementGroupFactory
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup


class TrialPlacement(PlacementGroupFactory):
    """What a trial needs of a node; the group that holds it is named after the driver that asks for it."""

    def to_placement_group(self) -> PlacementGroup:
        """Ask Ray for the group."""
        return placement_group(self.bundles, self.strategy, name=_prefix() + uuid4().hex)


def remove_own_groups() -> None:
    """Remove the groups of this driver's trials and end what runs in them; the table has those of all drivers."""
    for identifier, group in placement_group_table().items():
        if group["name"].startswith(_prefix()) and group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(identifier))))


def _prefix() -> str:
    return f"lethe-{ray.get_runtime_context().get_job_id()}-"
