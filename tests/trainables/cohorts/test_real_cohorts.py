"""The two real cohorts beside the checkout, through the front door."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from trainables.cohorts.open_cohort import open_cohort

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
pytestmark = [
    pytest.mark.cohort,
    pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data"),
]


def z_scored(images):
    inside = [image[image != 0].astype(np.float64) for image in images]
    means, deviations = [x.mean() for x in inside], [x.std() for x in inside]
    return np.allclose(means, 0, atol=1e-4) and np.allclose(deviations, 1, atol=1e-3)


def centre(labels, value):
    return np.argwhere(labels == value).mean(axis=0)


@pytest.mark.slow
def test_hippocampi_of_the_decathlon(tmp_path):
    folder = DATA / "Task04_Hippocampus"
    cohort = open_cohort(f"decathlon:{folder}", cache_dir=tmp_path)
    files = sorted((folder / "labelsTr").glob("*.nii.gz"))
    assert cohort.subjects == tuple(file.name.removesuffix(".nii.gz") for file in files)
    assert len(cohort.subjects) == 48
    assert cohort.class_names == ("background", "Anterior", "Posterior")
    assert cohort.spacing_mm == (1.0, 1.0, 1.0)
    assert all(size % 8 == 0 for size in cohort.images.shape[1:])
    assert z_scored(cohort.images)
    for file, labels in zip(files, cohort.labels, strict=True):
        raw = np.asarray(nib.load(file).dataobj)
        assert [(labels == value).sum() for value in (1, 2)] == [(raw == value).sum() for value in (1, 2)]
        assert centre(labels, 1)[1] > centre(labels, 2)[1]  # anterior has the larger H


@pytest.fixture
def ixi():
    return DATA / "IXI_brain"


@pytest.mark.slow
def test_whole_heads_of_ixi_stand_upright_and_look_ahead(ixi, tmp_path):
    cohort = open_cohort(f"bids:{ixi}", label_map=ixi / "label_map.csv", shape=(48, 64, 48), cache_dir=tmp_path)
    with (ixi / "label_map.csv").open(newline="") as lines:
        rows = [(int(row["to"]), row["name"]) for row in csv.DictReader(lines)]
    names = [dict(rows)[value].split(",")[0] for value in sorted(dict(rows))]
    assert [name.split(",")[0] for name in cohort.class_names] == names
    assert len(cohort.class_names) == 8
    assert len(cohort.subjects) == len(cohort.subject_ids) == 20
    assert cohort.images.shape == (20, 48, 64, 48)
    assert cohort.spacing_mm == pytest.approx((240 / 48, 240 / 64, 180 / 48))
    assert z_scored(cohort.images)
    cortex, ventricles, cerebellum, stem = (
        next(index for index, name in enumerate(cohort.class_names) if name.startswith(start))
        for start in ("cortical", "ventricles", "cerebellum", "brain_stem")
    )
    for labels in cohort.labels:
        assert set(np.unique(labels)) == set(range(8))
        for low in (cerebellum, stem):
            assert centre(labels, low)[0] < centre(labels, ventricles)[0]
            assert centre(labels, low)[0] < centre(labels, cortex)[0]
        assert centre(labels, cerebellum)[1] < centre(labels, stem)[1]
        assert centre(labels, cerebellum)[1] < centre(labels, cortex)[1]
        volume_ml = (labels == cerebellum).sum() * np.prod(cohort.spacing_mm) / 1000
        assert 80 < volume_ml < 220  # adults have about 120 to 160


@pytest.mark.slow
def test_right_is_right_in_ixi(ixi, tmp_path):
    right, left = (31, 47), (32, 48)  # MUSE: amygdala and hippocampus of either side
    (tmp_path / "bids").mkdir()
    for subject in sorted(ixi.glob("sub-*"))[:2]:
        (tmp_path / "bids" / subject.name).symlink_to(subject, target_is_directory=True)
    with (ixi / "label_map.csv").open(newline="") as lines:
        values = [int(row["from"]) for row in csv.DictReader(lines)]
    table = {
        value: (1, "right") if value in right else (2, "left") if value in left else (0, "rest") for value in values
    }
    (tmp_path / "map.csv").write_text(
        "from,to,name\n" + "".join(f"{v},{to},{name}\n" for v, (to, name) in table.items())
    )
    cohort = open_cohort(f"bids:{tmp_path / 'bids'}", label_map=tmp_path / "map.csv", cache_dir=tmp_path)
    assert cohort.images.shape == (2, 120, 120, 96)
    for labels in cohort.labels:
        assert centre(labels, 1)[2] > centre(labels, 2)[2] + 10  # voxels of 2 mm
