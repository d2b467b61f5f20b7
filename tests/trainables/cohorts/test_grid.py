"""Preprocessing against numpy, scipy.ndimage and the volumes and centres of ellipsoids."""

import math

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from trainables.cohorts.cohort import IGNORED, Scan
from trainables.cohorts.grid import Grid, prepare_scan, resample_image, resample_labels, size_on, study_grid
from trainables.cohorts.label_map import ClassTable

TABLE = ClassTable({0: 0, 1: 1, 2: 2, 7: 3, 9: IGNORED}, ("background", "one", "two", "seven"))
MM = (1.0, 1.0, 1.0)


@pytest.fixture
def scan(tmp_path, nifti):
    """Writes image and labels, given as (D, H, W), as RAS files of that spacing along (D, H, W)."""

    def write(image, labels, spacing_mm=MM):
        affine = np.diag([*spacing_mm[::-1], 1.0])
        affine[:3, 3] = -20, 30, 5
        files = (nifti(tmp_path / f"{n}.nii", v.transpose(2, 1, 0), affine) for n, v in (("i", image), ("l", labels)))
        return Scan("a", *files)

    return write


def head(shape=(20, 24, 22)):
    """A lopsided head: image with a zero outside, and labels 0 1 2 7 9."""
    rng = np.random.default_rng(0)
    d, h, w = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = (d - 9) ** 2 / 81 + (h - 11) ** 2 / 100 + (w - 10) ** 2 / 64 < 1
    labels = np.zeros(shape, dtype=np.uint8)
    for value, box in ((1, np.s_[3:9, 4:12, 5:11]), (2, np.s_[9:14, 8:19, 6:9]), (7, np.s_[5:8, 12:15, 11:15])):
        labels[box] = value
    labels[12, 8:12, 10:13] = 9
    return (inside * rng.gamma(4, 50, shape)).astype(np.float32), labels


def linear(volume, size):
    """scipy's linear interpolation between voxel centres, edges held."""
    factors = np.divide(size, volume.shape)
    return ndimage.zoom(volume.astype(np.float64), factors, order=1, grid_mode=True, mode="nearest")


@pytest.mark.parametrize("axes", ["LPI", "PSR", "SAR", "ILA"])
@pytest.mark.parametrize("grid", [Grid((24, 24, 24), (1.5, 1.2, 1.0)), Grid((16, 24, 40), (2.0, 2.0, 0.7))])
def test_the_same_head_in_another_axis_order_gives_the_same_arrays(scan, axes, grid):
    stored = scan(*head(), spacing_mm=(1.5, 1.2, 1.0))
    expected = prepare_scan(stored, grid, TABLE)
    for file in (stored.image, stored.label):
        volume = nib.load(file)
        turn = ornt_transform(io_orientation(volume.affine), axcodes2ornt(axes))
        turned = volume.as_reoriented(turn)
        assert nib.aff2axcodes(turned.affine) == tuple(axes)
        nib.save(nib.Nifti1Image(np.array(turned.dataobj), turned.affine), file)
    found = prepare_scan(stored, grid, TABLE)
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(found[1], expected[1])


def test_axes_run_to_superior_anterior_and_right(tmp_path, nifti):
    affine = np.array([[0, 0, 2.0, -9], [-2.0, 0, 0, 9], [0, -2.0, 0, 9], [0, 0, 0, 1]])  # stored P, I, R
    image, labels = (
        np.random.default_rng(0).normal(5, 1, (10, 10, 10)).astype(np.float32),
        np.zeros((10,) * 3, np.uint8),
    )
    for value, mm in ((1, (-9, 9, 9)), (2, (9, -9, 9)), (7, (9, 9, -9))):  # left, posterior, inferior corner
        place = np.linalg.solve(affine, [*mm, 1])[:3].round().astype(int)
        labels[tuple(place)] = value
    stored = Scan("a", nifti(tmp_path / "i.nii", image, affine), nifti(tmp_path / "l.nii", labels, affine))
    _, found = prepare_scan(stored, Grid((10, 10, 10), (2.0, 2.0, 2.0)), TABLE)
    assert [found[9, 9, 0], found[9, 0, 9], found[0, 9, 9]] == [1, 2, 3]


def test_z_scored_over_nonzero_voxels_and_centred_in_the_grid(scan):
    image, labels = head()
    found, classes = prepare_scan(scan(image, labels), Grid((24, 24, 29), MM), TABLE)
    kept = image != 0
    expected = np.where(kept, (image - image[kept].mean()) / image[kept].std(), 0)
    inner = np.s_[2:22, :, 3:25]  # 2 + 20 + 2 and 3 + 22 + 4 voxels
    np.testing.assert_allclose(found[inner], expected, atol=1e-5)
    inside = found[found != 0]
    assert [inside.mean(), inside.std()] == pytest.approx([0, 1], abs=1e-5)
    index = np.zeros(10, dtype=np.uint8)
    index[[1, 2, 7, 9]] = 1, 2, 3, IGNORED
    assert np.array_equal(classes[inner], index[labels])
    assert (found.dtype, classes.dtype) == (np.float32, np.uint8)
    found[inner] = classes[inner] = 0
    assert not found.any()
    assert not classes.any()


def test_the_scale_of_the_intensities_plays_no_part(scan, nifti):
    image, labels = head()
    grid = Grid((16, 24, 24), (1.3, 1.0, 1.0))
    expected, _ = prepare_scan(scan(image, labels), grid, TABLE)
    found, _ = prepare_scan(scan(image * 1000, labels), grid, TABLE)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    stored = scan(image, labels)
    scaled = nib.Nifti1Image(np.rint(image * 20).astype(np.int16).transpose(2, 1, 0), nib.load(stored.image).affine)
    scaled.header.set_slope_inter(0.05, 0)
    nib.save(scaled, stored.image)
    found, _ = prepare_scan(stored, grid, TABLE)
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_channel_of_a_4d_image_is_read(scan, tmp_path, nifti):
    image, labels = head()
    alone = scan(image, labels)
    both = np.stack([image[::-1], image], axis=-1).transpose(2, 1, 0, 3)
    double = Scan("a", nifti(tmp_path / "two.nii", both, nib.load(alone.image).affine), alone.label, channel=1)
    grid = Grid((24, 24, 24), MM)
    assert np.array_equal(prepare_scan(double, grid, TABLE)[0], prepare_scan(alone, grid, TABLE)[0])


@pytest.mark.parametrize("size", [(31, 24, 22), (40, 30, 45), (20, 24, 23)])
def test_finer_images_are_scipys_linear_interpolation(size):
    image, _ = head()
    np.testing.assert_allclose(resample_image(image, size), linear(image, size), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [(12, 24, 22), (7, 13, 9), (15, 40, 11)])
def test_coarser_images_are_smoothed_first_with_a_gaussian_of_half_the_excess_factor(size):
    image, _ = head()
    smooth = image.astype(np.float64)
    for axis in range(3):
        sigma = (image.shape[axis] / size[axis] - 1) / 2
        if sigma > 0:
            reach = np.arange(-8, 9)
            weights = np.exp(-(reach**2) / (2 * sigma**2)) * (abs(reach) <= int(4 * sigma + 0.5))
            padded = np.pad(smooth, [(8, 8) if k == axis else (0, 0) for k in range(3)], mode="edge")
            smooth = np.apply_along_axis(np.convolve, axis, padded, weights / weights.sum(), mode="valid")
    np.testing.assert_allclose(resample_image(image, size), linear(smooth, size), rtol=1e-4, atol=1e-2)


def test_resampling_keeps_a_constant_up_to_the_faces_and_averages_a_checkerboard():
    flat = np.full((20, 24, 22), 7, dtype=np.float32)
    np.testing.assert_allclose(resample_image(flat, (7, 30, 22)), 7, rtol=1e-5)
    board = np.indices((24, 24, 24)).sum(0).astype(np.float32) % 2
    assert np.abs(resample_image(board, (8, 8, 8)) - 0.5)[1:-1, 1:-1, 1:-1].max() < 0.1


@pytest.mark.parametrize("size", [(10, 12, 11), (27, 24, 40), (13, 31, 22)])
def test_a_voxel_gets_the_class_with_the_largest_share(size):
    _, labels = head()
    values = np.unique(labels)
    shares = np.stack([linear(labels == value, size) for value in values])
    ordered = np.sort(shares, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-4
    found = resample_labels(labels, size)
    assert np.array_equal(found[clear], values[shares.argmax(0)][clear])
    assert np.isin(found, values).all()
    assert clear.mean() > 0.9


@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (1.3, 1.6, 2.5)])
def test_resampled_ellipsoids_keep_their_volume_and_centre(scan, spacing):
    mm, shape, centres = np.array([2.0, 1.6, 2.4]), (60, 64, 56), {1: (28, 20, 22), 2: (33, 46, 37)}
    axes_mm = {1: (40, 24, 20), 2: (24, 18, 24)}
    labels = np.zeros(shape, dtype=np.uint8)
    for value, centre in centres.items():
        places = np.indices(shape) - np.reshape(centre, (3, 1, 1, 1))
        labels[((places.T * mm / axes_mm[value]) ** 2).T.sum(0) < 1] = value
    size = tuple(np.rint(shape * mm / spacing).astype(int).tolist())
    _, found = prepare_scan(scan(labels + 1.0, labels, mm), Grid(size, spacing), TABLE)
    for value, centre in centres.items():
        places_mm = np.argwhere(found == value) * spacing
        written_mm3 = (labels == value).sum() * mm.prod()
        assert written_mm3 == pytest.approx(4 / 3 * math.pi * math.prod(axes_mm[value]), rel=0.03)
        assert len(places_mm) * math.prod(spacing) == pytest.approx(written_mm3, rel=0.03)
        middle_mm = np.subtract(centre, np.subtract(shape, 1) / 2) * mm
        np.testing.assert_allclose(places_mm.mean(0) - np.subtract(size, 1) / 2 * spacing, middle_mm, atol=0.6)


@pytest.mark.parametrize(
    ("shapes", "spacings", "shape", "expected"),
    [
        ([(10, 20, 33)], [MM], None, Grid((16, 24, 40), MM)),
        ([(16, 24, 40)], [MM], None, Grid((16, 24, 40), MM)),
        ([(30, 40, 40), (35, 20, 41), (1, 1, 1)], [MM] * 3, None, Grid((40, 40, 48), MM)),  # the largest of each axis
        ([(40, 8, 8), (20, 8, 8)], [MM, (2.0, 1.0, 1.0)], None, Grid((32, 8, 8), (1.5, 1.0, 1.0))),  # 40 mm in 1.5 mm
        ([(8,) * 3] * 3, [MM, MM, (5.0, 1.0, 1.0)], None, Grid((40, 8, 8), MM)),  # a median, not a mean
        (
            [(48, 240, 240)] * 2,  # as float32 headers have it: 240.00001 voxels are no reason for 248
            [(3.0, 0.9583333134651184, 0.9583333134651184), (3.0, 0.958333432674408, 0.958333432674408)],
            None,
            Grid((48, 240, 240), (3.0, 0.958333, 0.958333)),
        ),
        ([(48, 240, 240)], [(3.0, 0.96, 0.96)], (24, 48, 60), Grid((24, 48, 60), (6.0, 4.8, 3.84))),
        ([(10, 20, 30)], [MM], (16, 16, 40), Grid((16, 16, 40), (1.0, 1.25, 1.0))),  # coarser only where it must be
    ],
)
def test_the_grid_of_a_study(shapes, spacings, shape, expected):
    grid = study_grid(shapes, spacings, shape)
    assert grid.shape == expected.shape
    assert grid.spacing_mm == pytest.approx(expected.spacing_mm, rel=1e-5)


def test_every_scan_of_any_cohort_fits_whole_and_keeps_its_extent():
    rng = np.random.default_rng(0)
    for wanted in [None, (16, 24, 32)] * 100:
        shapes = [tuple(int(n) for n in rng.integers(8, 200, 3)) for _ in range(rng.integers(1, 6))]
        spacings = [tuple(np.float32(rng.uniform(0.5, 3, 3)).tolist()) for _ in shapes]
        grid = study_grid(shapes, spacings, wanted)
        assert grid.shape == wanted or all(size % 8 == 0 for size in grid.shape)
        for shape, spacing in zip(shapes, spacings, strict=True):
            size = size_on(grid, shape, spacing)
            assert all(0 < mine <= limit for mine, limit in zip(size, grid.shape, strict=True))
            extent, kept = np.multiply(shape, spacing), np.multiply(size, grid.spacing_mm)
            close = abs(kept - extent) <= np.maximum(0.0101 * extent, 0.501 * np.array(grid.spacing_mm))
            assert (close | (np.array(size) == 1)).all()


def test_a_scan_that_is_one_voxel_too_long_for_the_shape_is_resampled_not_cropped():
    grid = study_grid([(101, 40, 40)], [MM], (100, 40, 40))
    assert grid.spacing_mm == (1.01, 1.0, 1.0)
    assert size_on(grid, (101, 40, 40), MM) == (100, 40, 40)


def test_a_scan_within_a_percent_of_the_grids_spacing_is_not_resampled(scan):
    image, labels = head()
    _, classes = prepare_scan(scan(image, labels, (1.009, 0.992, 1.0)), Grid((20, 24, 22), MM), TABLE)
    assert np.array_equal(classes == 3, labels == 7)
    assert size_on(Grid((24, 24, 24), MM), (20, 20, 20), (1.02, 0.98, 1.0)) == (20, 20, 20)
    assert size_on(Grid((60, 60, 60), MM), (50, 50, 50), (1.02, 0.98, 1.0)) == (51, 49, 50)
