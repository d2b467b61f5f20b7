"""Surfaces against distances worked out by hand: cubes that are moved by whole voxels."""

import numpy as np
import pytest

from trainables.data import TrialData
from trainables.evidence.quality import quality


def cube(start, value=1):
    volume = np.zeros((16, 16, 16), np.uint8)
    volume[start : start + 6, 4:10, 4:10] = value
    return volume


def test_cubes_moved_along_an_axis(rounding):
    """Of three millimetres a voxel: moved by one, all but the two faces touch; by none; class 2 is never found."""
    images = np.stack([cube(4), cube(5), cube(4), np.zeros((16, 16, 16))]).astype(np.float32)
    labels = np.stack([cube(4), cube(4), cube(4), cube(4, 2)])
    data = TrialData(images, labels, ((0,),), ((1,),), ((2,), (3,)), classes=3)
    found = quality(rounding, data, (3.0, 1.0, 1.0))
    assert (found["retain_hd95"], found["retain_surface_dice"], found["retain_empty"]) == (0, 1, 0)
    assert found["forget_hd95"] == pytest.approx(3)
    assert 0.5 < found["forget_surface_dice"] < 1
    assert (found["heldout_hd95"], found["heldout_surface_dice"], found["heldout_empty"]) == (0, 1, 1)


def test_a_set_of_nobody_has_no_quality(rounding):
    data = TrialData(np.zeros((1, 8, 8, 8), np.float32), np.zeros((1, 8, 8, 8), np.uint8), ((0,),), (), (), classes=3)
    found = quality(rounding, data, (1.0, 1.0, 1.0))
    assert np.isnan([found["forget_hd95"], found["forget_empty"], found["retain_hd95"]]).all()
    assert found["retain_empty"] == 0
