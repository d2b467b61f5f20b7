"""Divergences, value and gradient, against the sum over classes written out."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.mechanics.teachers import (
    divergence,
    follow_baseline,
    follow_incompetent,
    leave_baseline,
    loss_level,
    mean_label,
)


def kl(teacher, student, labels, temperature):
    """T^2 times the mean over the voxels that count of sum_c p_c log(p_c / q_c)."""
    total, count = 0, 0
    for scan in range(len(labels)):
        counted = labels[scan] != IGNORED
        count += int(counted.sum())
        p_all, q_all = ((logits[scan].double() / temperature).exp() for logits in (teacher, student))
        for c in range(teacher.shape[1]):
            p, q = p_all[c] / p_all.sum(0), q_all[c] / q_all.sum(0)
            total = total + (p * (p / q).log())[counted].sum()
    return total / count * temperature**2


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_follow_baseline_is_the_divergence_on_the_retain_batch(step, seasoned, frozen, same_gradient, temperature):
    now = step(retain=(0, 7, 4), forget=(3,), baseline=seasoned())
    _, teacher = frozen(now.setting.baseline.network, now.retain.images[:, 0])
    assert (now.retain.labels == IGNORED).any()
    same_gradient(
        follow_baseline(temperature),
        now,
        lambda features, logits: kl(teacher, logits[:3], now.retain.labels, temperature),
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_leave_baseline_is_minus_the_divergence_on_the_forget_batch(
    step, seasoned, frozen, same_gradient, temperature
):
    now = step(forget=(9, 3), baseline=seasoned())
    _, teacher = frozen(now.setting.baseline.network, now.forget.images[:, 0])
    same_gradient(
        leave_baseline(temperature),
        now,
        lambda features, logits: -kl(teacher, logits[2:], now.forget.labels, temperature),
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_follow_incompetent_is_the_divergence_from_another_network_on_the_forget_batch(
    step, seasoned, frozen, same_gradient, temperature
):
    term = follow_incompetent(temperature)
    now = step(forget=(3, 6), baseline=seasoned())
    seen = []  # the teacher's features, at which its own convolution is put on
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, _, out: seen.append((module, out)))
    term(now)
    handle.remove()
    networks = [module for module, _ in seen if hasattr(module, "encoder")]
    assert len(networks) == 2
    assert not any(module.training or module is now.setting.baseline.network for module in networks)
    _, teacher = frozen(networks[0], now.forget.images[:, 0])
    _, competent = frozen(now.setting.baseline.network, now.forget.images[:, 0])
    assert (teacher - competent).abs().max() > 0.1
    fresh = step(forget=(3, 6), baseline=now.setting.baseline.network)
    same_gradient(term, fresh, lambda features, logits: kl(teacher, logits[2:], fresh.forget.labels, temperature))


@pytest.mark.parametrize(("term", "sign"), [(follow_baseline(), 1), (leave_baseline(), -1)])
def test_the_baseline_sees_the_scans_as_the_student_does(step, seasoned, frozen, term, sign):
    now = step(retain=(0, 7), forget=(9, 3), baseline=seasoned(), view=lambda volumes: volumes.flip([-1]))
    place, batch = (slice(2), now.retain) if sign > 0 else (slice(2, 4), now.forget)
    _, teacher = frozen(now.setting.baseline.network, now.setting.images[batch.scans].flip([-1]))
    expected = kl(teacher, now.logits.double()[place], now.setting.labels[batch.scans].flip([-1]), 1.0)
    assert term(now).item() == pytest.approx(sign * expected.item(), rel=1e-4)


def test_the_incompetent_teacher_sees_them_so_too_and_stays_the_same_network(step, seasoned, frozen):
    term, networks, baseline = follow_incompetent(), [], seasoned()
    now, before = step(baseline=baseline, view=lambda volumes: volumes.flip([-1])), step(baseline=baseline)
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, *_: networks.append(module) if hasattr(module, "encoder") else None
    )
    term(before), term(now)
    handle.remove()
    assert networks[0] is networks[1]
    _, teacher = frozen(networks[0], now.setting.images[[3]].flip([-1]))
    expected = kl(teacher, now.forget_logits.double(), now.forget.labels, 1.0)
    assert term(now).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("view", [None, lambda volumes: volumes.flip([-2])])
def test_the_mean_label_is_how_often_a_retain_scan_has_each_class(step, same_gradient, toy, view):
    now = step(retain=(0,), forget=(3, 6), view=view)
    retain = toy.labels[[0, 1, 2, 4, 5, 7, 8]]
    mean = np.stack([(retain == c).sum(0) / (retain != IGNORED).sum(0) for c in range(3)])
    assert now.setting.mean_labels.numpy() == pytest.approx(mean)
    seen = torch.from_numpy(mean if view is None else view(torch.from_numpy(mean)).numpy())
    log_mean = torch.stack([seen, seen]).clamp(min=1e-6).log()
    same_gradient(mean_label, now, lambda features, logits: kl(log_mean, logits[1:], now.forget.labels, 1.0))


@pytest.mark.parametrize("level", [0.01, 5.0])
def test_the_loss_goes_to_its_level_above_the_baselines_from_both_sides(step, seasoned, frozen, same_gradient, level):
    baseline = seasoned()
    with torch.no_grad():
        baseline.decoder.weight *= 0  # it knows how much is background, and a random student not even that
        baseline.decoder.bias.copy_(torch.tensor([0.8, 0.1, 0.1]).log())
    now = step(forget=(3, 9), baseline=baseline)
    _, before = frozen(now.setting.baseline.network, now.forget.images[:, 0])

    def cross(logits, scan):
        voxels = now.forget.labels[[scan]].long()
        return F.cross_entropy(logits[[scan]], voxels, ignore_index=IGNORED)

    def by_hand(features, logits):
        return sum((cross(logits[2:], scan) - cross(before, scan) - level).abs() for scan in (0, 1)) / 2

    same_gradient(loss_level(level), now, by_hand)
    logits = now.forget_logits.detach().double()
    assert all((cross(logits, scan) - cross(before, scan) > level) == (level < 1) for scan in (0, 1))


def test_the_incompetent_teacher_is_fixed_by_the_seed_and_leaves_the_baseline_alone(step, seasoned):
    baseline = seasoned()
    before = {name: value.clone() for name, value in baseline.state_dict().items()}
    state = torch.get_rng_state()

    def loss(seed, epoch=1, forget=(3,)):
        return follow_incompetent()(step(baseline=baseline, seed=seed, epoch=epoch, forget=forget)).item()

    assert loss(0) == loss(0, epoch=5)
    assert loss(0) != loss(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in baseline.state_dict().items())


def test_a_teacher_has_no_divergence_from_itself_and_no_gradient():
    logits = torch.randn(2, 4, 3, 3, 3, requires_grad=True)
    labels = torch.zeros(2, 3, 3, 3, dtype=torch.uint8)
    loss = divergence(logits.detach(), logits, labels, 2.0)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(0, abs=1e-7)
    assert gradient.abs().max() < 1e-7


def test_two_voxels_worked_out():
    teacher = torch.tensor([[0.8, 0.1], [0.2, 0.9]]).log().view(1, 2, 1, 1, 2)
    student = torch.zeros(1, 2, 1, 1, 2)
    expected = [p * math.log(2 * p) + (1 - p) * math.log(2 - 2 * p) for p in (0.8, 0.1)]
    labels = torch.zeros(1, 1, 1, 2, dtype=torch.uint8)
    assert divergence(teacher, student, labels, 1.0).item() == pytest.approx(sum(expected) / 2, rel=1e-5)
    labels[..., 0] = IGNORED
    assert divergence(teacher, student, labels, 1.0).item() == pytest.approx(expected[1], rel=1e-5)


def test_an_ignored_voxel_whose_probability_underflows_gives_no_nan():
    teacher, student = torch.zeros(1, 2, 1, 1, 2), torch.zeros(1, 2, 1, 1, 2)
    student[0, 0, 0, 0, 0] = 1e6
    student.requires_grad_()
    labels = torch.zeros(1, 1, 1, 2, dtype=torch.uint8)
    labels[..., 0] = IGNORED
    loss = divergence(teacher, student, labels, 1.0)
    loss.backward()
    assert loss.item() == 0
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("term", [follow_baseline(), leave_baseline(), follow_incompetent()])
def test_a_teacher_is_asked_once_for_every_scan(step, seasoned, term):
    now = step(retain=(0, 2), forget=(3, 6), baseline=seasoned())
    calls = []
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, _: calls.append(len(inputs[0])) if hasattr(module, "encoder") else None
    )
    term(now), term(now)
    handle.remove()
    assert calls == [1, 1]
