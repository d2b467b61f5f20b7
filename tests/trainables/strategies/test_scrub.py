"""SCRUB: who is seen when, and the loss of its min steps."""

import copy
from dataclasses import replace

import pytest
import torch
from monai.losses import DiceCELoss
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.recipe import Recipe
from trainables.strategies.scrub import scrub
from trainables.unlearning import Unlearning

RETAIN, FORGET = [0, 1, 2, 4, 5, 7, 8], [3, 6, 9]


@pytest.mark.parametrize("max_epochs", [0, 1, 3])
def test_the_first_epochs_begin_with_a_pass_over_the_forget_scans(after, watch, max_epochs):
    strategy, steps = watch(scrub(max_epochs=max_epochs))
    after(strategy, epochs=4, forget_batch=2)
    for epoch in range(1, 5):
        now = [step for step in steps if step[0] == epoch]
        pushes = 2 if epoch <= max_epochs else 0
        assert [name for _, name, _, _ in now] == ["forget"] * pushes + ["retain"] * 3
        assert not any(retain for _, _, retain, _ in now[:pushes])
        assert not any(forget for _, _, _, forget in now[pushes:])
        assert sorted(scan for _, _, _, forget in now for scan in forget) == (FORGET if pushes else [])
        assert sorted(scan for _, _, retain, _ in now for scan in retain) == RETAIN


def test_every_pass_over_the_forget_scans_has_an_order_of_its_own(after, watch):
    strategy, steps = watch(scrub(max_epochs=6))
    after(strategy, epochs=6)
    orders = [tuple(step[3][0] for step in steps if step[:2] == (epoch, "forget")) for epoch in range(1, 7)]
    assert len(set(orders)) > 1
    assert {tuple(sorted(order)) for order in orders} == {(3, 6, 9)}


def test_a_max_step_raises_the_divergence_on_the_forget_scans_and_a_min_step_lowers_it_on_the_others(
    step, tiny_network
):
    strategy, baseline = scrub(gamma=0.0), tiny_network(seed=3)
    for term, scans, sign in ((strategy.forget, ((), (3, 6)), 1), (strategy.retain, ((0, 2), ()), -1)):
        network = tiny_network().train()
        values = []
        for _ in range(2):
            now = step(*scans, network=network, baseline=baseline)
            loss = term(now)
            values.append(abs(loss.item()))
            loss.backward()
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter -= 0.01 * parameter.grad
        assert sign * (values[1] - values[0]) > 0


def test_a_min_step_is_alpha_times_divergence_plus_gamma_times_loss(step, tiny_network):
    now = step(retain=(0, 7), forget=(), baseline=tiny_network(seed=3))
    now.retain.labels[now.retain.labels == IGNORED] = 0  # MONAI knows no ignored voxels
    loss = scrub(alpha=0.3, gamma=0.6, temperature=2.0).retain(now)

    logits, other = (
        now.retain_logits,
        F.interpolate(now.setting.baseline.network(now.retain.images), size=(16, 16, 16), mode="trilinear"),
    )
    kl = F.kl_div((logits / 2).log_softmax(1), (other / 2).softmax(1), reduction="sum") / (2 * 16**3)
    dice_ce = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, smooth_nr=1e-5, smooth_dr=1e-5)
    expected = 0.3 * 4 * kl + 0.6 * dice_ce(logits, now.retain.labels[:, None].long())
    torch.testing.assert_close(loss, expected)


def test_rewinding_keeps_the_epoch_whose_forget_dice_is_nearest_to_the_steering_subjects_now(tiny_network, toy):
    """Of the epoch kept so far and the last one; training goes on from the last one all the same."""
    data = replace(toy, heldout=((10,),), steering=((11,),))

    def loop(rewind, epochs=8, every=1):
        strategy, recipe = scrub(max_epochs=3, rewind=rewind), Recipe(epochs, lr=0.03, retain_batch=3)
        return Unlearning(tiny_network(), data, strategy, recipe, 0, evaluate_every=every)

    plain, kept, expected = loop(rewind=False), None, []
    for report in plain:
        now = report.metrics, copy.deepcopy(plain.network.state_dict())
        if kept is None or abs(now[0]["forget_dice"] - now[0]["steering_dice"]) < abs(
            kept[0]["forget_dice"] - now[0]["steering_dice"]
        ):
            kept = now
        expected.append(kept)
    chosen = [metrics["forget_dice"] for metrics, _ in expected]
    assert 1 < len(set(chosen)) < 8
    whole, continued = loop(rewind=True), loop(rewind=True)
    assert [report.metrics for report in whole] == [metrics for metrics, _ in expected]
    assert [report.metrics for report in loop(rewind=True, epochs=3)] == [metrics for metrics, _ in expected[:3]]
    seldom = loop(rewind=True, every=8)  # as what was not kept is computed again
    assert len(list(seldom)) == 8
    for one in (whole, seldom):
        assert all(torch.equal(value, kept[1][name]) for name, value in one.network.state_dict().items())
    half = loop(rewind=True)
    next(half), next(half), next(half)
    continued.load_state_dict(half.state_dict())
    assert [report.metrics for report in continued] == [metrics for metrics, _ in expected[3:]]


def test_without_steering_subjects_nothing_is_rewound(after, changed):
    assert not changed(after(scrub(rewind=True))[0], after(scrub())[0])
