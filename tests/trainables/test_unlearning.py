"""The loop: repeatable and continuable bit for bit, fair to every scan, blind to held-out subjects."""

import copy
import io
import math
from dataclasses import asdict, replace
from itertools import chain

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.data import scans
from trainables.evaluation import evaluate
from trainables.mechanics import Strategy, noisy_labels, segment_retain
from trainables.recipe import Recipe
from trainables.strategies.noisy_label import noisy_label
from trainables.unlearning import Unlearning

RECIPE = Recipe(epochs=4, lr=0.01, retain_batch=3, forget_batch=1)


@pytest.fixture
def start(tiny_network, toy):
    """Starts a trial on the toy cohort with a network of seed 0."""

    def build(data=toy, strategy=None, recipe=RECIPE, seed=0, **options):
        return Unlearning(tiny_network(), data, strategy or noisy_label(), recipe, seed, **options)

    return build


class Watched:
    """A strategy that keeps the scans of every step, and the network's state when the step began."""

    def __init__(self, forget=True):
        self.retain, self.forget, self.states = [], [], []
        forget_term = noisy_labels(1.0, False)

        def watch(step):
            self.states.append(copy.deepcopy(step.network.state_dict()))
            self.retain.append(step.retain.scans)
            self.forget.append(step.forget.scans)
            self.step = step
            return segment_retain(step)

        self.strategy = Strategy(watch, forget_term if forget else None)


def told(reports):
    """Reports without their durations, as text, so that NaN equals NaN and every digit counts."""
    return [repr({**asdict(report), "seconds": None}) for report in reports]


def same_weights(first, second):
    pairs = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("resample", [False, True])
def test_the_same_seed_repeats_bit_for_bit_whatever_the_global_generator_does(start, resample):
    first = start(strategy=noisy_label(resample=resample))
    reports = told(first)
    torch.manual_seed(99)
    np.random.seed(99)
    state = torch.get_rng_state()
    second, other = start(strategy=noisy_label(resample=resample)), start(seed=1)
    assert told(second) == reports
    assert same_weights(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert told(other) != reports
    assert not same_weights(first, other)


@pytest.mark.parametrize("done", [1, 2, 3])
@pytest.mark.parametrize("resample", [False, True])
def test_a_continued_trial_equals_an_uninterrupted_one_bit_for_bit(start, tiny_network, toy, done, resample):
    def build(network):
        return Unlearning(network, toy, noisy_label(resample=resample), RECIPE, 5)

    whole, stopped = build(tiny_network()), build(tiny_network())
    reports = told(whole)
    assert told(next(stopped) for _ in range(done)) == reports[:done]
    file = io.BytesIO()
    torch.save(stopped.state_dict(), file)
    file.seek(0)

    continued = build(tiny_network(seed=7))
    continued.load_state_dict(torch.load(file, weights_only=True))
    assert told(continued) == reports[done:]
    assert same_weights(continued, whole)


def test_epochs_are_counted_and_end(start):
    loop = start()
    reports = list(loop)
    assert [report.epoch for report in reports] == [1, 2, 3, 4]
    assert all(report.seconds > 0 and math.isfinite(report.loss) and not report.diverged for report in reports)
    assert loop.finished
    with pytest.raises(StopIteration):
        next(loop)


def test_every_retain_scan_is_seen_once_an_epoch_in_a_new_order(start, toy):
    watched = Watched()
    list(start(strategy=watched.strategy))
    assert [len(batch) for batch in watched.retain] == [3, 3, 1] * 4
    orders = [list(chain(*watched.retain[first : first + 3])) for first in range(0, 12, 3)]
    assert all(sorted(order) == [0, 1, 2, 4, 5, 7, 8] for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert scans(toy.retain) not in orders
    assert watched.step.network.encoder[1].num_batches_tracked == 12  # each in training mode
    assert np.array_equal(watched.step.retain.images[:, 0], toy.images[watched.step.retain.scans])
    assert np.array_equal(watched.step.forget.labels, toy.labels[watched.step.forget.scans])


@pytest.mark.parametrize("forget_batch", [1, 2, 4])
def test_forget_scans_take_turns_across_epochs(start, forget_batch):
    watched = Watched()
    list(start(strategy=watched.strategy, recipe=replace(RECIPE, forget_batch=forget_batch)))
    assert {len(batch) for batch in watched.forget} == {forget_batch}
    turns = list(chain(*watched.forget))
    rounds = [turns[first : first + 3] for first in range(0, len(turns), 3)]
    assert len(turns) == 12 * forget_batch
    assert all(sorted(one) == [3, 6, 9] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_without_a_forget_term_no_forget_scan_is_touched(start, toy):
    watched = Watched(forget=False)
    plain = start(strategy=watched.strategy)
    list(plain)
    assert not any(watched.forget)
    images = toy.images.copy()
    images[scans(toy.forget)] += 1
    other = start(replace(toy, images=images), Strategy(segment_retain))
    list(other)
    assert same_weights(plain, other)


def test_taught_subjects_replace_the_retain_set_in_training_only(start, toy):
    watched = Watched(forget=False)
    reports = list(start(strategy=watched.strategy, taught=toy.retain + toy.forget, evaluate_every=4))
    assert sorted(chain(*watched.retain[:4])) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert set(reports[-1].metrics) == {f"{s}_{m}" for s in ("retain", "forget", "heldout") for m in ("dice", "mae")}


def test_one_step_is_adamw_on_the_loss_and_the_metrics_are_those_after_it(tiny_network, toy):
    labels = np.where(toy.labels == IGNORED, 0, toy.labels)  # MONAI knows no ignored voxels
    toy = replace(toy, labels=labels, retain=((0, 1), (2,)), forget=((3,),))
    network, other = tiny_network(), tiny_network()
    recipe = Recipe(epochs=1, lr=0.02, weight_decay=0.3, retain_batch=3)
    (report,) = Unlearning(network, toy, noisy_label(noise_rate=0.0, forget_weight=0.4), recipe, 0)

    images, labels = torch.from_numpy(toy.images)[:, None], torch.from_numpy(labels).long()
    optimizer = torch.optim.AdamW(other.parameters(), lr=0.02, weight_decay=0.3, foreach=False)
    logits = F.interpolate(other.train()(images[:4]), size=(16, 16, 16), mode="trilinear")
    dice_ce = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, smooth_nr=1e-5, smooth_dr=1e-5)
    loss = dice_ce(logits[:3], labels[:3, None]) + 0.4 * F.cross_entropy(logits[3:], labels[3:4])
    loss.backward()
    optimizer.step()

    assert report.loss == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(network.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    expected = evaluate(other, images[:, 0], labels.to(torch.uint8), toy.subsets)
    assert report.metrics == pytest.approx(expected, rel=1e-3)


def test_the_loss_is_the_mean_over_the_steps(start):
    losses = []

    def forget(step):
        losses.append(segment_retain(step).item())
        return 0 * step.forget_logits.sum()

    report = next(start(strategy=Strategy(segment_retain, forget)))
    assert len(losses) == 3
    assert report.loss == pytest.approx(sum(losses) / 3)


@pytest.mark.parametrize("change", ["images", "labels"])
def test_heldout_subjects_never_influence_the_weights(start, toy, change):
    def altered(chosen):
        array = getattr(toy, change).copy()
        array[chosen] = array[chosen][:, ::-1] + (change == "images")
        return replace(toy, **{change: array})

    first, blind, seeing = start(), start(altered(scans(toy.heldout))), start(altered([2]))
    metrics, others = ([report.metrics for report in loop] for loop in (first, blind))
    list(seeing)
    assert same_weights(first, blind)
    assert not same_weights(first, seeing)
    for before, after in zip(metrics, others, strict=True):
        assert {name for name in before if before[name] != after[name]} == {"heldout_dice", "heldout_mae"}


@pytest.mark.parametrize(("every", "evaluated"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (9, [5])])
def test_evaluation_every_so_often_and_at_the_end_changes_no_weight(start, every, evaluated):
    recipe = replace(RECIPE, epochs=5)
    always, sometimes = start(recipe=recipe), start(recipe=recipe, evaluate_every=every)
    whole, reports = list(always), list(sometimes)
    assert [report.epoch for report in reports if report.metrics] == evaluated
    assert all(reports[epoch - 1].metrics == whole[epoch - 1].metrics for epoch in evaluated)
    assert same_weights(always, sometimes)


def poisoned(toy):
    images = toy.images.copy()
    images[4, 3, 3, 3] = np.inf
    return replace(toy, images=images), RECIPE


def exploding(toy):
    return toy, replace(RECIPE, lr=1e30)


@pytest.mark.parametrize("ruin", [poisoned, exploding])
def test_a_loss_that_is_not_finite_ends_the_trial(start, toy, ruin):
    watched = Watched()
    data, recipe = ruin(toy)
    loop = start(data, watched.strategy, recipe)
    reports = list(loop)
    assert [report.diverged for report in reports] == [True]
    assert not math.isfinite(reports[0].loss)
    assert set(reports[0].metrics) >= {"retain_dice", "forget_dice", "heldout_dice"}
    assert loop.finished
    for name, value in loop.network.named_parameters():
        assert torch.equal(value, watched.states[-1][name]), name


def test_the_running_statistics_of_a_diverged_trial_are_those_before_the_step_too(start, toy):
    watched = Watched()
    data, recipe = poisoned(toy)
    loop = start(data, watched.strategy, recipe)
    (report,) = loop
    for name, value in loop.network.named_buffers():
        assert torch.equal(value, watched.states[-1][name]), name
    assert math.isfinite(report.metrics["forget_mae"])  # of scans without poison, by a network without it


def test_a_trial_that_diverges_late_reports_its_good_epochs_first(start):
    def late(step):
        return segment_retain(step) * (math.nan if step.epoch == 3 else 1)

    reports = list(start(strategy=Strategy(late, noisy_labels(1.0, False))))
    assert [(report.epoch, report.diverged) for report in reports] == [(1, False), (2, False), (3, True)]


def test_the_arrays_may_be_read_only_and_stay_as_they_are(start, toy):
    before = toy.images.copy(), toy.labels.copy()
    toy.images.flags.writeable = toy.labels.flags.writeable = False
    list(start(toy))
    assert np.array_equal(toy.images, before[0])
    assert np.array_equal(toy.labels, before[1])
