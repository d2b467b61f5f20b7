"""The procedural cohort: files, anatomy and images, against textbook anatomy and closed forms."""

import hashlib
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage

from trainables.cohorts.phantom.anatomy import Tissue
from trainables.cohorts.phantom.imaging import APPEARANCE, scan
from trainables.cohorts.phantom.person import draw_person
from trainables.cohorts.phantom.shapes import blend, draw_waves, ellipsoid, tube
from trainables.cohorts.readers import phantom
from trainables.cohorts.readers.phantom import Spec, parse_spec, phantom_folder

CORTEX, DEEP_GREY, WHITE, LESIONS, CSF, VENTRICLES, CEREBELLUM, STEM, INFARCTION, OTHER = range(1, 11)
FILES = ("pre/FLAIR", "pre/IR", "pre/T1", "pre/reg_IR", "pre/reg_T1", "segm")
SHAPE = (24, 48, 48)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def cohort(cache):
    """Folder of the default cohort."""
    return phantom_folder(Spec(), cache)


@pytest.fixture(scope="module")
def labels(cohort):
    """Label maps (D, H, W) of the default cohort's subjects."""
    return [load(folder / "segm.nii.gz") for folder in sorted(cohort.glob("[0-9]*"))]


@pytest.fixture(scope="module")
def fine():
    """One subject with voxels of 144/64 x 230/96 x 230/96 mm."""
    return scan(draw_person(0, 1), (64, 96, 96), seed=5)


def load(file: Path) -> np.ndarray:
    return np.asarray(nibabel.load(file).dataobj).transpose(2, 1, 0)


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.nii.gz"))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def dice(first: np.ndarray, second: np.ndarray) -> float:
    shared = [label for label in range(1, 9) if (first == label).any() and (second == label).any()]
    return float(
        np.mean(
            [2 * ((first == i) & (second == i)).sum() / ((first == i).sum() + (second == i).sum()) for i in shared]
        )
    )


@pytest.mark.slow
def test_reader_lists_the_files_it_wrote(cohort, cache, monkeypatch):
    monkeypatch.setenv("LETHE_CACHE", str(cache))
    listing = phantom.read(Path())
    assert listing.problems == ()
    assert [subject.id for subject in listing.subjects] == [f"{i:03d}" for i in range(1, 13)]
    for subject in listing.subjects:
        (only,) = subject.scans
        assert only.image == cohort / subject.id / "pre" / "reg_T1.nii.gz"
        assert nibabel.load(only.image).shape == nibabel.load(only.label).shape == (48, 48, 24)
    assert phantom.read(Path(), "FLAIR").subjects[0].scans[0].image.name == "FLAIR.nii.gz"


@pytest.mark.parametrize(
    "text", ["48", "48x240", "48x240x240,", "48x240x240,0", "15x48x48", "24x48x513", "24x48x48,3,4", "a folder"]
)
def test_a_bad_spec_is_a_problem_that_explains_the_grammar(text):
    listing = phantom.read(Path(text))
    assert listing.subjects == ()
    assert "DxHxW[,SUBJECTS][,seed=SEED]" in listing.problems[0]
    assert text in listing.problems[0]


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("", Spec((24, 48, 48), 12, 0)),
        (".", Spec((24, 48, 48), 12, 0)),
        ("48x240x240", Spec((48, 240, 240), 12, 0)),
        ("48x240x240,7", Spec((48, 240, 240), 7, 0)),
        ("48x240x240,seed=3", Spec((48, 240, 240), 12, 3)),
        ("16x17x18,2,seed=4", Spec((16, 17, 18), 2, 4)),
    ],
)
def test_grammar(text, spec):
    assert parse_spec(text) == spec


@pytest.mark.slow
def test_default_cohort_has_every_file_and_class(cohort, labels):
    subjects = sorted(folder.name for folder in cohort.glob("[0-9]*"))
    assert subjects == [f"{i:03d}" for i in range(1, 13)]
    assert set(hashes(cohort)) == {f"{subject}/{file}.nii.gz" for subject in subjects for file in FILES}
    present = [set(np.unique(label)) for label in labels]
    assert all({0, CORTEX, DEEP_GREY, WHITE, CSF, VENTRICLES, CEREBELLUM, STEM} <= found for found in present)
    assert 4 <= sum(LESIONS in found for found in present) < 12
    assert sum(INFARCTION in found for found in present) == 1
    assert sum(OTHER in found for found in present) == 1
    assert set.union(*present) <= set(range(11))


@pytest.mark.parametrize("shape", [(16, 24, 20), SHAPE, pytest.param((48, 240, 240), marks=pytest.mark.slow)])
def test_field_of_view_is_mrbrains18s_at_every_size(cache, shape):
    for file in phantom_folder(Spec(shape, 1), cache).rglob("*.nii.gz"):
        volume = nibabel.load(file)
        assert volume.shape == shape[::-1]
        assert nibabel.aff2axcodes(volume.affine) == ("R", "A", "S")
        assert volume.header.get_xyzt_units()[0] == "mm"
        expected = np.divide((230, 230, 144), volume.shape)
        np.testing.assert_allclose(volume.header.get_zooms(), expected, rtol=1e-6)
        outer_faces = apply_affine(volume.affine, [(-0.5,) * 3, np.subtract(volume.shape, 0.5)])
        np.testing.assert_allclose(outer_faces, [(-115, -116, -67), (115, 114, 77)], atol=1e-4)
    if shape == (48, 240, 240):
        np.testing.assert_allclose(expected, (0.958, 0.958, 3.0), atol=5e-4)  # MRBrainS18's voxels


@pytest.mark.slow
def test_the_same_subject_at_another_size_is_the_same_anatomy(fine):
    coarse = scan(draw_person(0, 1), (32, 48, 48), seed=6)
    for label in (DEEP_GREY, VENTRICLES, CEREBELLUM, STEM):  # the cortex swallows sulci thinner than a voxel
        here, there = (np.argwhere(s.labels == label)[:, ::-1] for s in (fine, coarse))
        centres = [apply_affine(s.affine, found).mean(axis=0) for s, found in ((fine, here), (coarse, there))]
        assert np.linalg.norm(centres[0] - centres[1]) < 1.5  # millimetres
        assert len(there) * 8 == pytest.approx(len(here), rel=0.15)


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_process_and_its_threads(tmp_path):
    code = (
        "import sys; from pathlib import Path; from trainables.cohorts.readers.phantom import *;"
        "phantom_folder(parse_spec('16x24x20,1'), Path(sys.argv[1]))"
    )
    raced = tmp_path / "raced"
    racers = [
        subprocess.Popen([sys.executable, "-c", code, str(raced)], env={**os.environ, "OMP_NUM_THREADS": threads})
        for threads in ("1", "2")
    ]
    assert [racer.wait(timeout=60) for racer in racers] == [0, 0]
    (folder,) = (raced / "phantoms").iterdir()  # and nothing half-written beside it
    assert hashes(folder) == hashes(phantom_folder(Spec((16, 24, 20), 1), tmp_path / "alone"))


@pytest.mark.slow
def test_subjects_and_seeds_are_drawn_apart(cohort, cache):
    one, other = (hashes(phantom_folder(spec, cache)) for spec in (Spec(SHAPE, 1), Spec(SHAPE, 1, seed=1)))
    assert one.items() < hashes(cohort).items()  # a subject does not depend on how many follow
    assert not set(hashes(cohort).values()) & set(other.values())


@pytest.mark.slow
def test_a_written_cohort_is_not_written_again(cohort, cache):
    before = {file: file.stat().st_mtime_ns for file in cohort.rglob("*")}
    assert phantom_folder(Spec(), cache) == cohort
    assert {file: file.stat().st_mtime_ns for file in cohort.rglob("*")} == before


@pytest.mark.slow
def test_volumes_are_within_anatomical_ranges(labels):
    # Shares of the intracranial volume in per cent. Measured on 20 healthy adults of IXI (DLMUSE label maps,
    # merged to these classes; least to most): cortex 33-40, deep grey 2.1-2.6, white matter 34-39, CSF 7-14,
    # ventricles 0.6-2.6, cerebellum 9-12, brain stem 1.3-1.7, in 1200 to 1850 ml. Widened for MRBrainS18's
    # older subjects, with more CSF and larger ventricles, and for voxels of 4.8 x 4.8 x 6 mm.
    ranges = {
        CORTEX: (30, 42),
        DEEP_GREY: (1.2, 3.2),
        WHITE: (28, 41),
        LESIONS: (0, 2),
        CSF: (7, 22),
        VENTRICLES: (0.6, 6),
        CEREBELLUM: (7, 13),
        STEM: (1.3, 2.6),
    }
    for label in labels:
        inside = np.count_nonzero(label)
        assert 1100 < inside * 144 * 230 * 230 / label.size / 1000 < 1900  # millilitres
        for value, (least, most) in ranges.items():
            assert least <= 100 * np.count_nonzero(label == value) / inside <= most, value


def test_tissues_are_nested(fine):
    spacing = np.diag(fine.affine)[2::-1]
    depth = ndimage.distance_transform_edt(fine.labels > 0, sampling=spacing)
    mean = {label: depth[fine.labels == label].mean() for label in range(1, 9)}
    assert mean[CSF] < mean[CORTEX] < mean[WHITE] < mean[DEEP_GREY]
    assert mean[WHITE] < mean[LESIONS]
    for enclosed in (WHITE, LESIONS, DEEP_GREY, VENTRICLES):
        around = ndimage.binary_dilation(fine.labels == enclosed)
        assert not (around & (fine.labels == 0)).any(), enclosed


def test_paired_structures_lie_on_both_sides(fine):
    middle = np.argwhere(fine.labels > 0)[:, 2].mean()
    for label in (DEEP_GREY, VENTRICLES, CEREBELLUM, CORTEX):
        aside = (np.argwhere(fine.labels == label)[:, 2] - middle) * fine.affine[0, 0]
        assert 0.5 < np.count_nonzero(aside < 0) / np.count_nonzero(aside > 0) < 2
    right = np.argwhere(fine.labels == DEEP_GREY)[:, 2] > middle
    centres = [np.argwhere(fine.labels == DEEP_GREY)[side].mean(axis=0) for side in (right, ~right)]
    assert 25 < (centres[0] - centres[1])[2] * fine.affine[0, 0] < 55  # millimetres apart, left to right
    assert np.linalg.norm((centres[0] - centres[1])[:2] * np.diag(fine.affine)[2:0:-1]) < 6


def test_contrasts(fine):
    def median(contrast: str, label: int) -> float:
        return float(np.median(fine.images[contrast][fine.labels == label]))

    for contrast in ("T1", "IR"):
        assert median(contrast, WHITE) > median(contrast, DEEP_GREY) > median(contrast, CORTEX)
        assert median(contrast, CORTEX) > 1.5 * median(contrast, VENTRICLES)
    ratio = {contrast: median(contrast, WHITE) / median(contrast, CORTEX) for contrast in ("T1", "IR")}
    assert ratio["IR"] > 1.2 * ratio["T1"] > 1.2
    assert median("FLAIR", LESIONS) > median("FLAIR", CORTEX) > median("FLAIR", WHITE)
    assert median("FLAIR", WHITE) > 2 * median("FLAIR", VENTRICLES)


def test_air_is_rician_noise(fine):
    # Without signal the magnitude is Rayleigh: mean sqrt(pi / 2), deviation sqrt(2 - pi / 2), here 49,152 voxels.
    for image in fine.images.values():
        air = image[:, :, :8].astype(float)
        assert air.mean() / air.std() == pytest.approx(math.sqrt(math.pi / 2) / math.sqrt(2 - math.pi / 2), rel=0.02)
        assert 0.01 < air.std() / np.percentile(image, 99) < 0.05


@pytest.mark.slow
def test_intensity_scales_differ_between_subjects_by_orders_of_magnitude(cohort):
    brightest = [np.percentile(load(folder / "pre/reg_T1.nii.gz"), 99) for folder in cohort.glob("[0-9]*")]
    assert max(brightest) > 20 * min(brightest)
    assert all(load(folder / "pre/reg_T1.nii.gz").dtype == np.int16 for folder in cohort.glob("[0-9]*"))


@pytest.mark.slow
def test_subjects_differ_but_not_beyond_recognition(labels):
    overlaps = [dice(*pair) for pair in itertools.combinations(labels, 2)]
    assert min(overlaps) > 0.25
    assert 0.4 < np.mean(overlaps) < 0.8
    assert max(overlaps) < 0.95


def test_every_tissue_has_an_appearance():
    assert set(APPEARANCE) == set(Tissue)


def test_distances_to_simple_solids():
    points = np.random.default_rng(0).normal(0, 20, (3, 500)).astype(np.float32)
    sphere = ellipsoid(points, (1, 2, 3), (10, 10, 10))
    expected = np.linalg.norm(points - [[1], [2], [3]], axis=0) - 10
    np.testing.assert_allclose(sphere, expected, atol=1e-4)
    beyond, beside = np.float32([[4], [0], [30]]), np.float32([[9], [0], [5]])
    rod = ((4, 0, 0, 2), (4, 0, 10, 2), (4, 0, 20, 2))
    np.testing.assert_allclose([tube(beyond, rod)[0], tube(beside, rod)[0]], [10 - 2, 5 - 2], rtol=1e-6)
    cone = ((0, 0, 0, 1), (0, 0, 10, 3))  # halfway along its radius is 2
    np.testing.assert_allclose(tube(np.float32([[7], [0], [5]]), cone), [5], rtol=1e-6)
    np.testing.assert_allclose(blend(sphere, sphere, 4), sphere - 1, atol=1e-5)  # width / 4 where both are equal
    np.testing.assert_allclose(blend(sphere, sphere + 4, 4), sphere, atol=1e-5)


def test_waves_have_the_root_mean_square_and_gradient_they_say():
    waves = draw_waves(np.random.default_rng(1), 12, (20, 40), rms=2.5, components=2)
    points = np.random.default_rng(2).uniform(-500, 500, (3, 20_000)).astype(np.float32)
    np.testing.assert_allclose(np.sqrt(np.mean(waves(points) ** 2, axis=1)), 2.5, rtol=0.03)
    value, gradient = waves.with_gradient(points[:, :50] / 10)
    np.testing.assert_allclose(value, waves(points[:, :50] / 10)[0], rtol=1e-5)
    for axis in range(3):
        step = np.zeros((3, 1), np.float32)
        step[axis] = 0.05
        ahead, behind = waves(points[:, :50] / 10 + step)[0], waves(points[:, :50] / 10 - step)[0]
        np.testing.assert_allclose(gradient[axis], (ahead - behind) / 0.1, atol=2e-3)
