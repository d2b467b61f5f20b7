"""The frozen network: right numbers, computed once, by one process of a node."""

import copy
import multiprocessing
import time

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trainables import cache_entries
from trainables.cache_entries import file_sha256
from trainables.data import scans
from trainables.mechanics.baseline import Baseline


@pytest.fixture
def build(seasoned, toy):
    """Builds a baseline on the toy cohort and a list that grows with every encoder call."""

    def make(folder=None, network=None):
        network = network or seasoned()
        calls = []
        network.encoder.register_forward_hook(lambda module, inputs, _: calls.append(inputs[0][0, 0]))
        return Baseline(network, torch.from_numpy(toy.images), scans(toy.retain), folder), calls

    return make


@pytest.fixture(params=["memory", "folder"])
def folder(request, tmp_path):
    return tmp_path / "features" / "abc" if request.param == "folder" else None


def test_the_network_is_frozen_in_evaluation_mode_whatever_it_was(build, seasoned, toy):
    network = seasoned().train()
    before = copy.deepcopy(network.state_dict())
    baseline, _ = build(network=network)
    images = torch.from_numpy(toy.images[:2, None])
    outputs = [baseline.encode(images), baseline.features([2, 0]), baseline.logits([3, 1])]
    assert not any(value.requires_grad for value in (*outputs, *network.parameters()))
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_features_and_moments_are_those_of_a_float64_calculation(build, folder, frozen, toy):
    baseline, _ = build(folder)
    expected, _ = frozen(baseline.network, torch.from_numpy(toy.images[scans(toy.retain)]))
    found = baseline.retain_features
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-5)
    assert found.mean == pytest.approx(expected.mean().item(), rel=1e-5)
    assert found.variance == pytest.approx(expected.var(unbiased=False).item(), rel=1e-5)
    rows = [scans(toy.retain).index(scan) for scan in (7, 0, 7)]
    torch.testing.assert_close(baseline.features([7, 0, 7]).double(), expected[rows], rtol=1e-4, atol=1e-5)


def test_moments_of_features_far_from_zero_keep_their_digits(build, folder):
    baseline, _ = build(folder)
    with torch.no_grad():
        baseline.network.encoder[1].bias.fill_(1000)
        baseline.network.encoder[1].weight.fill_(0.1)
    found = baseline.retain_features
    values = np.asarray(found.values, dtype=np.float64)
    assert found.mean == pytest.approx(values.mean(), rel=1e-9)
    assert found.variance == pytest.approx(values.var(), rel=1e-3)


def test_the_features_of_forget_scans_are_not_kept(build):
    baseline, _ = build()
    with pytest.raises(KeyError):
        baseline.features([3])


def test_logits_are_at_full_resolution_and_computed_once_a_scan(build, frozen, toy):
    baseline, calls = build()
    _, expected = frozen(baseline.network, torch.from_numpy(toy.images[[3, 0, 3]]))
    found = baseline.logits([3, 0, 3])
    assert found.shape == (3, 3, 16, 16, 16)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
    assert len(calls) == 2
    assert torch.equal(baseline.logits([0, 3]), found[[1, 0]])
    assert len(calls) == 2
    coarse = baseline.network(torch.from_numpy(toy.images[[3], None]))
    assert torch.equal(F.interpolate(coarse, (16, 16, 16), mode="trilinear"), found[:1])


def test_nothing_is_computed_before_it_is_asked_for_and_then_once(build, folder, toy):
    baseline, calls = build(folder)
    assert not calls
    first = baseline.retain_features
    seen = {int(np.flatnonzero([np.array_equal(image, other) for other in toy.images])[0]) for image in calls}
    assert seen == set(scans(toy.retain))
    done = len(calls)
    assert done <= len(seen) + 1
    baseline.features([0, 8])
    assert baseline.retain_features is first
    assert len(calls) == done


def test_a_second_baseline_maps_what_the_first_has_stored(build, tmp_path):
    first, calls = build(tmp_path / "features" / "abc")
    expected = first.retain_features
    second, others = build(tmp_path / "features" / "abc")
    found = second.retain_features
    assert calls
    assert not others
    assert isinstance(found.values, np.memmap)
    assert not found.values.flags.writeable
    assert np.array_equal(found.values, expected.values)
    assert (found.mean, found.variance) == (expected.mean, expected.variance)
    second.features([0])[:] = 0  # a batch is a copy
    assert np.array_equal(found.values, expected.values)


def test_of_many_trials_in_a_process_one_hashes_what_all_map(build, tmp_path, monkeypatch):
    build(tmp_path / "abc")[0].retain_features  # noqa: B018
    hashed = []
    monkeypatch.setattr(cache_entries, "file_sha256", lambda file: hashed.append(file.name) or file_sha256(file))
    for _ in range(3):
        build(tmp_path / "abc")[0].retain_features  # noqa: B018
    assert sorted(hashed) == ["features.npy", "moments.json"]


def test_another_folder_is_computed_anew(build, tmp_path):
    (first, _), (second, calls) = build(tmp_path / "abc"), build(tmp_path / "def")
    assert np.array_equal(first.retain_features.values, second.retain_features.values)
    assert calls


def test_a_failure_leaves_no_folder_and_the_next_one_computes(build, tmp_path):
    broken, _ = build(tmp_path / "features" / "abc")
    broken.network.encoder.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        broken.retain_features  # noqa: B018
    assert [path.name for path in (tmp_path / "features").iterdir()] in ([], ["abc.lock"])
    other, calls = build(tmp_path / "features" / "abc")
    assert other.retain_features.values.shape[0] == 7
    assert calls


def compute(build, folder, barrier, answers):
    baseline, calls = build(folder)
    baseline.network.encoder.register_forward_hook(lambda *_: time.sleep(0.05))
    barrier.wait(timeout=30)
    found = baseline.retain_features
    answers.put((len(calls), found.mean, found.variance, np.asarray(found.values).tobytes()))


def test_two_processes_at_once_compute_once(build, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.Queue()
    arguments = (build, tmp_path / "features" / "abc", barrier, answers)
    processes = [context.Process(target=compute, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    (one, *first), (other, *second) = (answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=30)
    assert min(one, other) == 0 < max(one, other)
    assert first == second
    assert {path.name for path in (tmp_path / "features").iterdir()} <= {"abc", "abc.lock"}
