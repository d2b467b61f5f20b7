"""Pictures and label maps of a trial of a real study: whom they show, and that they show what the network says."""

import base64
import gzip
import io
import json
import re
from dataclasses import asdict, replace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from study.pictures import PicturesSettings, _scans, _subjects
from study.pictures import main as pictures
from study.planning.plan import make_plan
from study.planning.pseudonyms import owner_key, pseudonym
from study.records.files import write_json
from study.records.study_record import SplitRecord
from trainables.med3d import med3d

KINDS = (".png", ".gif", "_baseline.nii.gz", "_unlearned.nii.gz")


@pytest.fixture(scope="module")
def drawn(_done, tmp_path_factory):
    """A copy of the study whose best trial was drawn by default, over a folder of an earlier call."""
    mine = _done.copied(tmp_path_factory.mktemp("drawn"))
    (target := mine.folder / "pictures" / mine.front).mkdir(parents=True)
    (target / "index.html").write_text("old")
    (target / "forget_s-0123456789.png").write_text("old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LETHE_CACHE", str(mine.cache))
        assert pictures(["s", "--studies", str(mine.studies)]) == 0
    return mine


def refused(capsys, done, *options, study="s"):
    """The one line with which a call is refused; nothing is drawn."""
    assert pictures([study, "--studies", str(done.studies), *map(str, options)]) == 2
    assert not (done.folder / "pictures").exists()
    (line,) = capsys.readouterr().err.splitlines()
    return line


def scan_of(done, subject):
    """The place of a pseudonym's one scan in the cohort's arrays, the arrays and its person."""
    (cohort,) = (done.cache / "cohorts").glob(done.record["cohort"]["digest"] + "*")
    people, key = json.loads((cohort / "meta.json").read_text())["subject_ids"], owner_key(done.cache)
    (place,) = (place for place, person in enumerate(people) if pseudonym(person, key) == subject)
    return place, np.load(cohort / "images.npy"), people[place]


def predicted(weights, image):
    """The classes of a (D, H, W) image along (R, A, S)."""
    network = med3d(10, 3)
    network.load_state_dict(load_file(weights))
    network.eval()
    with torch.inference_mode():
        logits = network(torch.tensor(image)[None, None])
        full = torch.nn.functional.interpolate(logits, image.shape, mode="trilinear", align_corners=False)
    return full[0].argmax(0).numpy().transpose(2, 1, 0)


def files_of(*names):
    return {f"{name}{kind}" for name in names for kind in KINDS} | {"index.html", "classes.tsv"}


def bytes_of(folder):
    """Path -> what it holds, unpacked."""
    read = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {path: gzip.decompress(held) if path.suffix == ".gz" else held for path, held in read.items()}


def shown(page):
    """The pictures in a page: how it calls them, their format and bytes."""
    found = re.findall(r'<img [^>]*alt="([^"]*)" src="data:image/(png|gif);base64,([^"]*)">', page)
    assert len(found) == page.count("<img")
    return [(name, kind, base64.b64decode(text)) for name, kind, text in found]


@pytest.mark.slow
def test_by_default_retain_and_held_out_subjects_are_shown_and_the_old_folder_is_gone(drawn):
    split, folder = drawn.record["split"], drawn.folder / "pictures" / drawn.front
    names = [f"{name}_{subject}" for name in ("retain", "heldout") for subject in split[name][:2]]
    assert {path.name for path in folder.iterdir()} == files_of(*names)
    assert [path.name for path in folder.parent.iterdir()] == [drawn.front]
    page = (folder / "index.html").read_text()
    assert [(kind, held) for _, kind, held in shown(page)] == [
        (kind, (folder / f"{name}.{kind}").read_bytes()) for name in names for kind in ("png", "gif")
    ]
    assert drawn.front in page
    for name in names:
        assert Image.open(folder / f"{name}.png").width > 600
        assert Image.open(folder / f"{name}.gif").n_frames == 16
        assert f"{name}_unlearned.nii.gz" in page


@pytest.mark.slow
def test_nobody_is_named_and_nothing_tells_of_the_forgotten(drawn):
    files = bytes_of(drawn.folder / "pictures")
    hidden = [*drawn.people, *drawn.record["split"]["forget"]]
    for path, held in files.items():
        assert not [name for name in hidden if name.encode() in held or name in str(path)], path
    assert (
        drawn.record["split"]["retain"][0].encode() in files[drawn.folder / "pictures" / drawn.front / "index.html"]
    )


@pytest.mark.slow
def test_files_can_be_read_by_their_owner_only(drawn):
    assert (drawn.folder / "pictures" / drawn.front).stat().st_mode & 0o077 == 0


@pytest.mark.slow
@pytest.mark.parametrize("subset", ["retain", "heldout"])
def test_label_maps_are_the_argmax_of_the_networks(drawn, subset):
    folder, found = drawn.folder / "pictures" / drawn.front, {}
    baseline = drawn.record["references"]["baseline"]["digest"]
    weights = {
        "unlearned": drawn.folder / "front" / drawn.front / "weights.safetensors",
        "baseline": drawn.cache / "references" / baseline / "weights.safetensors",
    }
    for subject in drawn.record["split"][subset][:2]:
        place, images, person = scan_of(drawn, subject)
        original = nib.load(next(drawn.cache.parent.glob(f"patients/image/{person}.nii.gz")))
        for kind, file in weights.items():
            image = nib.load(folder / f"{subset}_{subject}_{kind}.nii.gz")
            found[kind] = np.asarray(image.dataobj)
            assert (found[kind] == predicted(file, images[place])).mean() > 0.999  # but for ties
            assert set(np.unique(found[kind])) == {0, 1, 2}
            np.testing.assert_array_equal(image.affine, original.affine)
        assert (found["baseline"] != found["unlearned"]).any()


@pytest.mark.slow
def test_the_classes_are_named(drawn):
    rows = (drawn.folder / "pictures" / drawn.front / "classes.tsv").read_text().splitlines()
    names = drawn.record["cohort"]["classes"]
    assert rows == ["index\tname", *(f"{place}\t{name}" for place, name in enumerate(names))]


@pytest.mark.soak
def test_forget_subjects_of_a_trial_that_was_not_kept_are_shown_where_somebody_asks(done, tmp_path):
    split, out = done.record["split"], tmp_path / "deep/out"
    who = f"{split['forget'][1]}, {split['heldout'][0]}"
    options = ["--trial", done.other, "--show-forget", "--subjects", who, "--to", str(out)]
    assert pictures(["s", "--studies", str(done.studies), *options]) == 0
    names = f"forget_{split['forget'][1]}", f"heldout_{split['heldout'][0]}"
    assert {path.name for path in out.iterdir()} == files_of(*names)
    assert not (done.folder / "pictures").exists()
    assert not [path for path, held in bytes_of(out).items() if any(name.encode() in held for name in done.people)]
    _, images, _ = scan_of(done, split["forget"][1])
    pixels = np.asarray(Image.open(io.BytesIO(shown((out / "index.html").read_text())[0][2])).convert("RGB"))
    assert (np.ptp(pixels.astype(int), axis=-1) > 40).any()
    assert nib.load(out / f"{names[0]}_unlearned.nii.gz").shape == images.shape[1:]


def test_what_cannot_be_drawn_is_refused_in_a_line(done, tmp_path, capsys, no_ray):
    split = done.record["split"]
    (tmp_path / "there").mkdir()
    line = refused(capsys, done, "--subjects", f"{split['retain'][0]},{split['forget'][0]}")
    assert split["forget"][0] in line
    assert "--show-forget" in line
    assert split["retain"][0] not in line
    line = refused(capsys, done, "--subjects", f"s-nobody,{split['retain'][0]}, anna-mueller")
    assert "s-nobody, anna-mueller" in line
    assert "no finished trial 'nobody'" in refused(capsys, done, "--trial", "nobody")
    assert f"no study 'gone' in {done.studies}; there are s" in refused(capsys, done, study="gone")
    assert "exists already" in refused(capsys, done, "--to", tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert not list((tmp_path / "there").iterdir())


def test_other_data_and_another_key_are_refused_before_anything_is_computed(
    done, tmp_path, capsys, monkeypatch, no_ray
):
    mine = done.copied(tmp_path)
    record = mine.record
    write_json(mine.folder / "study.json", {**record, "cohort": {**record["cohort"], "digest": "0" * 16}})
    assert "files have changed" in refused(capsys, mine)
    settings = {**record["settings"], "forget": "", "heldout": "", "requests": ""}
    write_json(mine.folder / "study.json", {**record, "settings": settings})
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "elsewhere"))
    assert "LETHE_CACHE" in refused(capsys, mine)
    assert not (tmp_path / "elsewhere/references").exists()


@pytest.mark.slow
def test_a_failure_leaves_the_earlier_folder_as_it_was(drawn, tmp_path, monkeypatch):
    mine = drawn.copied(tmp_path)
    folder = mine.folder / "pictures" / mine.front
    before = bytes_of(folder)
    monkeypatch.setenv("LETHE_CACHE", str(mine.cache))
    monkeypatch.setattr("study.pictures.slice_through", lambda *given, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pictures(["s", "--studies", str(mine.studies)])
    assert bytes_of(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [mine.front]


def test_every_scan_of_a_subject_is_drawn_under_a_number_of_its_own(settings, cache, tmp_path):
    groups = tmp_path / "groups.csv"
    alone = ("carla", "dora", "emil", "fritz")
    groups.write_text("scan,subject\nanna,pair\nbert,pair\n" + "".join(f"{name},{name}\n" for name in alone))
    plan = make_plan(replace(settings, groups=str(groups), forget="dora", heldout="pair"))
    (pair,), first = plan.split.heldout, plan.cohort.subject_ids.index("pair")
    assert list(_scans(plan, {pair: "heldout"})) == [
        (f"heldout_{pair}_1", first),
        (f"heldout_{pair}_2", first + 1),
    ]
    found = [
        (pseudonym(plan.cohort.subject_ids[scan], owner_key(cache)), name)
        for name, scan in _scans(plan, dict.fromkeys(plan.split.retain, "retain"))
    ]
    assert found == [(subject, f"retain_{subject}") for subject in plan.split.retain]


def test_held_out_subjects_that_steered_can_be_named(settings, cache):
    plan = make_plan(replace(settings, objective="unseen", heldout="anna,bert", forget="dora"))
    (subject,) = plan.split.steering
    subjects = _subjects(SplitRecord(**asdict(plan.split)), PicturesSettings("s", subjects=subject))
    ((name, scan),) = _scans(plan, subjects)
    assert name == f"steering_{subject}"
    assert pseudonym(plan.cohort.subject_ids[scan], owner_key(cache)) == subject
