"""Label maps prepared for a study and brought back onto their own files."""

import csv
from itertools import chain, permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from trainables.cohorts.cohort import Scan
from trainables.cohorts.grid import Grid, prepare_scan, restore, study_grid
from trainables.cohorts.label_map import ClassTable, class_table, read_label_map
from trainables.cohorts.readers import bids, decathlon
from trainables.cohorts.volumes import open_volume, spacing_of

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
TABLE = ClassTable({0: 0, 3: 1, 5: 2, 9: 3}, ("background", "three", "five", "nine"))
INDEX = np.array([0, 0, 0, 1, 0, 2, 0, 0, 0, 3], np.uint8)
MM = (1.0, 1.0, 1.0)
ORIENTATIONS = ["".join(axes) for one in permutations(("RL", "AP", "SI")) for axes in product(*one)]


@pytest.fixture
def scan(tmp_path, nifti):
    """Writes raw labels and an image with one voxel for each of theirs."""

    def write(labels, affine, channels=0, channel=0):
        image = np.random.default_rng(0).gamma(4, 50, (*labels.shape, channels or 1)).astype(np.float32)
        image = image if channels else image[..., 0]
        files = nifti(tmp_path / "image.nii.gz", image, affine), nifti(tmp_path / "label.nii.gz", labels, affine)
        return Scan("a", *files, channel)

    return write


def affine_of(axes="RAS", spacing=MM, rotation=None):
    """Of a volume stored along these axes, turned about the scanner's."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for stored, letter in enumerate(axes):
        place = next(i for i, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
        affine[place, stored] = spacing[stored] * (1 if letter in "RAS" else -1)
    if rotation is not None:
        affine[:3, :3] = rotation.as_matrix() @ affine[:3, :3]
    affine[:3, 3] = -31.5, 17.25, 8
    return affine


def noise(shape):
    """No two places alike, so that nothing can be turned or moved unseen."""
    return np.random.default_rng(1).choice(np.array([0, 3, 5, 9], np.int16), shape)


def bodies(shape):
    """Three ellipsoids off the middle: value, centre and radius, the latter in fractions of the volume's size."""
    labels, places = np.zeros(shape, np.int16), np.stack(np.indices(shape), -1) / shape
    given = (3, (0.4, 0.4, 0.5), 0.3), (5, (0.75, 0.6, 0.3), 0.2), (9, (0.3, 0.8, 0.75), 0.16)
    for value, centre, radius in given:
        labels[((places - centre) ** 2).sum(-1) < radius**2] = value
    return labels


def one_hot(classes, count=4):
    return torch.from_numpy(np.moveaxis(np.eye(count, dtype=np.float32)[classes], -1, 0).copy())


def grid_of(scan, shape=None):
    volume = open_volume(scan.image)
    return study_grid([volume.shape[::-1]], [spacing_of(volume)], shape)


def again(scan, grid, table=TABLE):
    """Classes on the scan's own voxels after the way to the grid and back, and the image that holds them."""
    _, classes = prepare_scan(scan, grid, table)
    image = restore(scan, grid, one_hot(classes, len(table.names)))
    return np.asarray(image.dataobj), image


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def check_alike(found, labels, least):
    for place, value in enumerate((3, 5, 9), 1):
        assert dice(found == place, labels == value) > least
        middle, wanted = np.argwhere(found == place).mean(0), np.argwhere(labels == value).mean(0)
        np.testing.assert_allclose(middle, wanted, atol=0.5)  # voxels


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_labels_come_back_exactly_in_every_orientation(scan, axes):
    labels, affine = noise((9, 14, 11)), affine_of(axes)
    found, image = again(scan(labels, affine), Grid((16, 15, 14), MM))
    assert nib.aff2axcodes(image.affine) == tuple(axes)
    assert np.array_equal(found, INDEX[labels])
    np.testing.assert_array_equal(image.affine, affine)


@pytest.mark.parametrize(
    "axes", ["PSR", *(pytest.param(axes, marks=pytest.mark.slow) for axes in ("RAS", "LIA", "RSA"))]
)
def test_labels_come_back_exactly_in_oblique_scans_with_a_voxel_size_for_each_axis(scan, axes):
    labels = noise((9, 14, 11))
    turns = [(0, 45, 45), (45, 135, 0), (45, 45, 45)]  # between two axes
    for rotation in (*Rotation.random(15, random_state=0), *Rotation.from_euler("xyz", turns, degrees=True)):
        affine = affine_of(axes, (0.8, 1.1, 2.5), rotation)
        stored = scan(labels, affine)
        found, image = again(stored, grid_of(stored))
        assert np.array_equal(found, INDEX[labels])
        np.testing.assert_allclose(image.affine, nib.load(stored.image).affine)


@pytest.mark.parametrize("shape", [(12, 12, 12), (11, 12, 13), (13, 11, 11), (12, 16, 1), (16, 15, 14)])
@pytest.mark.parametrize("grid", [(16, 16, 16), (17, 16, 19), (14, 17, 16)])
def test_odd_and_even_sizes_come_back_from_the_middle_of_any_grid(scan, shape, grid):
    labels = noise(shape)
    found, _ = again(scan(labels, np.eye(4)), Grid(grid, MM))
    assert np.array_equal(found, INDEX[labels])


def test_a_channel_of_a_4d_image_gives_a_3d_label_map(scan):
    labels, affine = noise((9, 14, 11)), affine_of("PIR", rotation=Rotation.from_rotvec([0.1, 0.3, -0.2]))
    found, image = again(scan(labels, affine, channels=3, channel=2), Grid((16, 16, 16), MM))
    assert image.shape == (9, 14, 11)
    assert np.array_equal(found, INDEX[labels])
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)


@pytest.mark.parametrize("axes", ["RAS", "LPI", "SRA", "APL"])
@pytest.mark.parametrize("spacing", [(1.4, 1.3, 1.5), (0.7, 0.6, 0.9), (1.5, 1.0, 0.8), (1.0, 1.0, 1.4)])
def test_resampled_labels_overlap_and_do_not_move(scan, axes, spacing):
    labels = bodies((35, 40, 37))
    affine = affine_of(axes, rotation=Rotation.from_rotvec([0.2, -0.1, 0.3]))
    size = [int(np.ceil(40 / mm)) + 2 for mm in spacing]
    found, image = again(scan(labels, affine), Grid(tuple(size), spacing))
    assert found.shape == labels.shape
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    check_alike(found, labels, 0.9)


def test_a_scan_of_thick_slices_comes_back_from_a_finer_grid(scan):
    labels = bodies((48, 44, 16))
    found, _ = again(scan(labels, affine_of("LPS", (1.0, 1.0, 3.0))), Grid((48, 48, 48), MM))
    check_alike(found, labels, 0.9)


def test_a_voxel_gets_the_class_whose_probability_is_largest_between_the_grids_voxels(scan):
    stored = scan(noise((10, 14, 12)), affine_of("RAS", (1.0, 1.0, 1.0)))
    found = torch.rand(4, 8, 10, 16, generator=torch.Generator().manual_seed(0)).softmax(0)
    image = restore(stored, Grid((8, 10, 16), (2.0, 1.5, 1.0)), found)
    inner = found.numpy()[:, 1:7, :9, 3:13]  # 12 / 2, 14 / 1.5 and 10 voxels, in the middle
    shares = np.stack(
        [ndimage.zoom(one, (12 / 6, 14 / 9, 1), order=1, grid_mode=True, mode="nearest") for one in inner]
    )
    ordered = np.sort(shares, 0)
    clear = ordered[-1] - ordered[-2] > 1e-4
    assert clear.mean() > 0.9
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0)[clear], shares.argmax(0)[clear])


def test_nothing_of_the_headers_text_is_kept(tmp_path, scan):
    stored = scan(noise((9, 14, 11)), affine_of("PSR"))
    original = nib.load(stored.image)
    secrets = {"descrip": b"Anna Mueller 1961", "aux_file": b"mueller.hdr", "db_name": b"clinic-17"}
    secrets |= {"intent_name": b"visit two", "data_type": b"ward9"}
    for name, text in secrets.items():
        original.header[name] = text
    original.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"called Mueller"))
    nib.save(nib.Nifti1Image(original.get_fdata().astype(np.float32), original.affine, original.header), stored.image)
    kept = nib.load(stored.image)
    assert kept.header["descrip"].item() == secrets["descrip"]
    assert len(kept.header.extensions) == 1

    _, image = again(stored, Grid((16, 16, 16), MM))
    nib.save(image, tmp_path / "found.nii")
    found = nib.load(tmp_path / "found.nii")
    assert not [text for text in (*secrets.values(), b"Mueller") if text in (tmp_path / "found.nii").read_bytes()]
    assert not found.header.extensions
    assert {found.header[name].item() for name in secrets} == {b""}
    assert (found.get_data_dtype(), found.header.get_xyzt_units()[0]) == (np.uint8, "mm")
    np.testing.assert_allclose(found.affine, kept.affine)


def test_an_affine_that_stands_in_the_quaternion_only_is_the_images(scan):
    stored = scan(noise((9, 14, 11)), np.eye(4))
    affine = affine_of("LPS", (1.0, 1.0, 1.0), Rotation.from_rotvec([0.1, 0.2, 0.0]))
    for file in (stored.image, stored.label):
        volume = nib.Nifti1Image(np.asarray(nib.load(file).dataobj), None)
        volume.set_qform(affine, code=1)
        volume.set_sform(None, code=0)
        nib.save(volume, file)
    found, image = again(stored, Grid((16, 16, 16), MM))
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    assert np.array_equal(found, INDEX[noise((9, 14, 11))])


def real(listing, place):
    return list(chain.from_iterable(subject.scans for subject in listing.subjects))[place]


def check_real(scan, grid, table, merged, least_voxels):
    """Every large class of the restored map lies over the label file, voxel by voxel."""
    found, image = again(scan, grid, table)
    original, label = nib.load(scan.image), nib.load(scan.label)
    assert found.shape == label.shape
    np.testing.assert_allclose(image.affine, original.affine)
    np.testing.assert_allclose(image.affine, label.affine, atol=1e-4)
    wanted = merged(np.rint(label.get_fdata()).astype(int))
    large = [value for value in range(1, len(table.names)) if (wanted == value).sum() >= least_voxels]
    assert large
    for value in large:
        assert dice(found == value, wanted == value) > 0.85, table.names[value]
    return found, wanted


@pytest.mark.cohort
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
@pytest.mark.parametrize("place", [3, 20])
def test_hippocampi_lie_over_their_label_files(place):
    listing = decathlon.read(DATA / "Task04_Hippocampus")
    stored, table = real(listing, place), class_table(listing, None, ())
    found, wanted = check_real(stored, grid_of(stored), table, lambda raw: raw, 1)
    assert np.array_equal(found, wanted)  # its voxels are the grid's
    check_real(stored, Grid((32, 48, 32), (1.25, 1.25, 1.25)), table, lambda raw: raw, 500)


@pytest.mark.slow
@pytest.mark.cohort
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_a_whole_head_lies_over_its_label_file():
    listing, names = bids.read(DATA / "IXI_brain"), DATA / "IXI_brain/label_map.csv"
    stored, table = real(listing, 0), class_table(listing, read_label_map(names), ())
    with names.open(newline="") as lines:
        target = {int(row["from"]): int(row["to"]) for row in csv.DictReader(lines)}
    order = sorted(set(target.values()))

    def merged(raw):
        values, places = np.unique(raw, return_inverse=True)
        return np.array([order.index(target[int(value)]) for value in values])[places].reshape(raw.shape)

    assert nib.aff2axcodes(nib.load(stored.image).affine) == ("P", "S", "R")
    found, wanted = check_real(stored, grid_of(stored), table, merged, 1)
    assert np.array_equal(found, wanted)
    check_real(stored, grid_of(stored, (104, 112, 84)), table, merged, 2000)  # the CSF is two voxels thin
