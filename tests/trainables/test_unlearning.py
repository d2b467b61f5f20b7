"""The loop: repeatable and continuable bit for bit, fair to every scan, blind to held-out subjects."""

import copy
import io
import math
from dataclasses import asdict, replace
from itertools import chain, product

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.data import Sets, scans
from trainables.evaluation import evaluate
from trainables.mechanics.labels import noisy_labels, segment_retain
from trainables.mechanics.scopes import plain_state
from trainables.mechanics.strategy import Strategy, build
from trainables.recipe import Recipe
from trainables.strategies.noisy_label import noisy_label
from trainables.unlearning import Unlearning
from trainables.views import shifted

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
        forget_term = noisy_labels(1.0, "never")

        def watch(step):
            self.states.append(copy.deepcopy(step.setting.network.state_dict()))
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


@pytest.mark.parametrize("resample", ["never", "epoch", "step"])
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


@pytest.mark.parametrize("done", [2, *(pytest.param(epochs, marks=pytest.mark.slow) for epochs in (1, 3))])
@pytest.mark.parametrize("resample", ["never", "epoch", "step"])
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
    assert watched.step.setting.network.encoder[1].num_batches_tracked == 12  # each in training mode
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


def test_an_epoch_paced_by_more_subjects_draws_the_few_in_turn(start, toy):
    watched = Watched()
    few = toy.with_sets(Sets(toy.retain[1:3], toy.forget[1:]))
    list(start(few, watched.strategy, paced_by=toy))
    assert [len(batch) for batch in watched.retain] == [3, 3, 1] * 4
    turns = list(chain(*watched.retain))
    assert all({*turns[place : place + 2]} == {2, 4} for place in range(1, 27, 2))  # rounds go on across epochs
    assert watched.forget == [[9]] * 12


def test_augmentation_moves_image_and_labels_of_both_batches_alike_and_anew_in_every_step(start, toy):
    watched, found = Watched(), []
    for epochs in (1, 2):
        list(start(strategy=watched.strategy, recipe=replace(RECIPE, epochs=epochs, augment="shift")))
        retain, forget = watched.step.retain, watched.step.forget
        scans, images = retain.scans + forget.scans, torch.cat([retain.images, forget.images])[:, 0]
        for scan, image, labels in zip(scans, images, torch.cat([retain.labels, forget.labels]), strict=True):
            original = torch.from_numpy(toy.images[[scan]])
            (move,) = [by for by in product(range(-3, 4), repeat=3) if torch.equal(shifted(original, by)[0], image)]
            assert torch.equal(shifted(torch.from_numpy(toy.labels[[scan]]), move)[0], labels)
            found.append((scan, move))
    assert len(set(found)) == 4


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
    expected = {f"{s}_{m}" for s in ("retain", "forget", "heldout") for m in ("dice", "mae")}
    assert set(reports[-1].metrics) == expected | {"forget_dice_views"}


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
    assert report.subjects.keys() == expected.keys()
    assert all(report.subjects[name] == pytest.approx(expected[name], rel=1e-3) for name in expected)


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

    reports = list(start(strategy=Strategy(late, noisy_labels(1.0, "never"))))
    assert [(report.epoch, report.diverged) for report in reports] == [(1, False), (2, False), (3, True)]


def test_the_arrays_may_be_read_only_and_stay_as_they_are(start, toy):
    before = toy.images.copy(), toy.labels.copy()
    toy.images.flags.writeable = toy.labels.flags.writeable = False
    list(start(toy))
    assert np.array_equal(toy.images, before[0])
    assert np.array_equal(toy.labels, before[1])


EVERY = [
    *(
        ("noisy_label", {"forget_schedule": schedule, "schedule_epochs": 3})
        for schedule in ("constant", "warmup", "cosine", "until_floor")
    ),
    ("noisy_label", {"lr_warmup": 3, "resample": "epoch"}),
    ("noisy_label", {"lora_rank": 2, "lr": 0.05}),
    ("noisy_label", {"optimizer": "sgd", "clip": 0.5}),
    ("noisy_label", {"batch_norm": "frozen", "forget_batch": 2}),
    ("salun", {"lora_rank": 1, "optimizer": "sgd"}),
    ("scrub", {"forget_batch": 2, "lr_decay": "1/3"}),
    ("bad_teacher", {"temperature": 2.0}),
    ("random_encoder", {"resample": "epoch"}),
    ("fix_decoder", {"lora_rank": 2}),
    ("noisy_label", {"augment": "shift", "resample": "step"}),
    ("bad_teacher", {"augment": "affine"}),
    ("fix_decoder", {"augment": "flip", "resample": "epoch"}),
]
VARIANTS = [
    pytest.param(*each, marks=[] if place % 4 == 3 else [pytest.mark.slow]) for place, each in enumerate(EVERY)
]


def variant(network, toy, name, knobs, epochs, shared=None):
    """A trial whose floor is where the retain Dice of these first epochs goes about."""
    strategy, recipe = build(name, {"lr": 0.01, "retain_batch": 3, **knobs, "epochs": epochs})
    return Unlearning(network, toy, strategy, recipe, 5, shared=shared, floor_dice=0.1)


@pytest.mark.parametrize(("name", "knobs"), VARIANTS)
def test_the_first_epochs_of_a_longer_trial_are_a_shorter_one_bit_for_bit(tiny_network, toy, name, knobs):
    shorter, longer = (variant(tiny_network(), toy, name, knobs, epochs) for epochs in (2, 5))
    assert told(next(longer) for _ in range(2)) == told(shorter)
    assert same_weights(longer, shorter)
    assert not longer.finished


@pytest.mark.parametrize(
    ("name", "knobs"),
    VARIANTS,
)
def test_every_variant_continues_from_its_state_bit_for_bit(tiny_network, toy, tmp_path, name, knobs):
    whole, stopped, continued = (variant(tiny_network(), toy, name, knobs, 4, tmp_path / "e0") for _ in range(3))
    reports = told(whole)
    next(stopped), next(stopped)
    torch.save(stopped.state_dict(), tmp_path / "state.pt")
    continued.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert told(continued) == reports[2:]
    assert same_weights(continued, whole)
    plain = plain_state(whole.network)
    assert plain.keys() == tiny_network().state_dict().keys()
    fresh = tiny_network()
    fresh.load_state_dict(plain)
    found = evaluate(fresh, torch.from_numpy(toy.images), torch.from_numpy(toy.labels), toy.subsets)
    last = list(variant(tiny_network(), toy, name, knobs, 4))[-1].subjects
    assert all(found[metric] == pytest.approx(last[metric], abs=1e-3, nan_ok=True) for metric in last)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [("constant", [1, 1, 1, 1]), ("warmup", [1 / 3, 2 / 3, 1, 1]), ("cosine", [1, 0.75, 0.25, 0])],
)
def test_the_schedule_multiplies_the_forget_weight(start, schedule, factors):
    strategy = Strategy(
        lambda step: 0 * step.logits.sum() + 0.5, lambda step: 0 * step.logits.sum() + 1, forget_weight=0.6
    )
    recipe = replace(RECIPE, forget_schedule=schedule, schedule_epochs=3)
    losses = [report.loss for report in start(strategy=strategy, recipe=recipe)]
    assert losses == pytest.approx([0.5 + 0.6 * factor for factor in factors])


def test_the_learning_rate_warms_up_step_by_step(start):
    """AdamW on a gradient that is 1 in every step moves a weight by the learning rate."""
    biases = []

    def term(step):
        biases.append(step.setting.network.decoder.bias[0].item())
        return step.setting.network.decoder.bias[0] + 0 * step.logits.sum()

    recipe = replace(RECIPE, epochs=3, lr_warmup=2, weight_decay=0.0)
    loop = start(strategy=Strategy(term), recipe=recipe)
    list(loop)
    biases.append(loop.network.decoder.bias[0].item())
    steps = -np.diff(biases)
    assert steps == pytest.approx(0.01 * np.minimum(np.arange(1, 10) / 6, 1), rel=1e-3)


def whole_batch(toy):
    """One step of three retain and one forget scan."""
    return replace(toy, retain=((0, 1), (2,)), forget=((3,),)), Recipe(epochs=1, lr=0.1, retain_batch=3)


def gradient_by_hand(network, step):
    """Of the loss of `noisy_label` without noise."""
    loss = segment_retain(step) + F.cross_entropy(step.forget_logits, step.forget.labels.long(), ignore_index=IGNORED)
    return torch.autograd.grad(loss, list(network.parameters()))


@pytest.mark.parametrize("clip", [0.0, 1e-3, 0.1, 1e6])
def test_clip_bounds_the_norm_of_the_gradient_and_keeps_its_direction(tiny_network, toy, step, clip):
    data, recipe = whole_batch(toy)
    network, other = tiny_network(), tiny_network()
    gradients = gradient_by_hand(other, step(retain=(0, 1, 2), forget=(3,), network=other.train()))
    norm = sum(gradient.square().sum() for gradient in gradients).item() ** 0.5
    recipe = replace(recipe, optimizer="sgd", weight_decay=0.0, clip=clip)
    next(Unlearning(network, data, noisy_label(noise_rate=0.0), recipe, 0))
    factor = min(1, clip / norm) if clip else 1
    moved = 0
    for ours, before, gradient in zip(network.parameters(), other.parameters(), gradients, strict=True):
        moved += ((ours - before) / 0.1).square().sum().item()
        torch.testing.assert_close(ours, before - 0.1 * factor * gradient, rtol=1e-4, atol=1e-6)
    assert moved**0.5 == pytest.approx(float(factor * norm), rel=1e-3)


def test_sgd_is_momentum_and_decay_by_hand(tiny_network, toy, step):
    data, recipe = whole_batch(toy)
    network, other = tiny_network(), tiny_network().train()
    recipe = replace(recipe, epochs=3, optimizer="sgd", weight_decay=0.05)
    list(Unlearning(network, data, noisy_label(noise_rate=0.0), recipe, 0))
    velocity = [torch.zeros_like(value) for value in other.parameters()]
    for _ in range(3):
        gradients = gradient_by_hand(other, step(retain=(0, 1, 2), forget=(3,), network=other))
        with torch.no_grad():
            for value, speed, gradient in zip(other.parameters(), velocity, gradients, strict=True):
                speed.mul_(0.9).add_(gradient + 0.05 * value)
                value -= 0.1 * speed
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_frozen_batch_norm_keeps_and_uses_the_baselines_statistics(start, tiny_network, toy):
    watched = Watched()
    loop = start(strategy=watched.strategy, recipe=replace(RECIPE, batch_norm="frozen"))
    before = {name: value.clone() for name, value in loop.network.named_buffers()}
    weights = loop.network.encoder[1].weight.detach().clone()
    list(loop)
    assert all(torch.equal(value, before[name]) for name, value in loop.network.named_buffers())
    assert not torch.equal(loop.network.encoder[1].weight, weights)
    data, recipe = whole_batch(toy)
    network, other = tiny_network(), tiny_network().eval()
    recipe = replace(recipe, batch_norm="frozen", weight_decay=0.0)
    report = next(Unlearning(network, data, Strategy(), recipe, 0))
    logits = F.interpolate(other(torch.from_numpy(toy.images[:3, None])), size=(16, 16, 16), mode="trilinear")
    voxels = torch.from_numpy(toy.labels[:3]).long()
    assert report.loss > F.cross_entropy(logits, voxels, ignore_index=IGNORED).item()  # the rest is 1 - Dice
    assert report.loss == pytest.approx(segmentation_by_hand(logits, voxels), rel=1e-4)


def segmentation_by_hand(logits, labels):
    p, counted = logits.softmax(1), labels != IGNORED
    ratios = [
        2 * p[scan, c][labels[scan] == c].sum() / (p[scan, c][counted[scan]].sum() + (labels[scan] == c).sum())
        for scan in range(len(labels))
        for c in (1, 2)
    ]
    return (F.cross_entropy(logits, labels, ignore_index=IGNORED) + 1 - sum(ratios) / len(ratios)).item()


def test_without_a_retain_term_nothing_is_trained(start, tiny_network):
    loop = start(strategy=Strategy(retain=None, forget=noisy_labels(1.0, "never")))
    reports = list(loop)
    assert [(report.loss, report.diverged) for report in reports] == [(0.0, False)] * 4
    assert all(
        torch.equal(value, tiny_network().state_dict()[name]) for name, value in loop.network.state_dict().items()
    )


@pytest.fixture
def course(start):
    """Runs `until_floor` and tells in which epochs forget scans were seen, and the retain Dice after each."""

    def run(floor, epochs=4, state=None):
        watched = Watched()
        recipe = replace(RECIPE, epochs=epochs, lr=0.03, forget_schedule="until_floor")
        loop = start(strategy=watched.strategy, recipe=recipe, floor_dice=floor)
        if state is not None:
            loop.load_state_dict(state)
        dice, pushed, states = {}, {}, {}
        for report in loop:
            taken, watched.forget[:] = list(watched.forget), []
            assert len({bool(some) for some in taken}) == 1
            pushed[report.epoch] = bool(taken[0])
            dice[report.epoch] = report.metrics["retain_dice"]
            states[report.epoch] = copy.deepcopy(loop.state_dict())
        return pushed, dice, states

    return run


def test_until_floor_stops_pushing_while_the_retain_dice_is_near_the_floor(course):
    free, dice, _ = course(floor=-1.0, epochs=8)
    assert all(free.values())
    values = sorted(dice.values())
    assert values[0] < values[-1]
    floor = (values[3] + values[4]) / 2 - 0.02
    pushed, dice, _ = course(floor, epochs=8)
    assert pushed == {1: True, **{epoch: dice[epoch - 1] >= floor + 0.02 for epoch in range(2, 9)}}
    assert set(pushed.values()) == {True, False}
    near = course(dice[1] - 0.02 - 1e-6, epochs=2)[0], course(dice[1] - 0.02 + 1e-6, epochs=2)[0]
    assert near == ({1: True, 2: True}, {1: True, 2: False})


@pytest.mark.parametrize("pushing", [True, False])
def test_until_floor_goes_on_from_a_state_as_it_would_have(course, pushing):
    _, dice, states = course(floor=-1.0, epochs=1)
    floor = dice[1] - 0.02 + (-1e-6 if pushing else 1e-6)
    whole = course(floor)
    continued = course(floor, state=states[1])
    assert continued[0][2] == pushing
    assert continued[0] == {epoch: whole[0][epoch] for epoch in (2, 3, 4)}
    assert continued[1] == {epoch: whole[1][epoch] for epoch in (2, 3, 4)}


ALONE = [
    *((name, {"forget_batch": 2}) for name in ("noisy_label", "retain_label", "max_loss", "gradient_difference")),
    *((name, {"forget_batch": 2}) for name in ("random_encoder", "scrub", "bad_teacher", "salun")),
    ("noisy_label", {"optimizer": "sgd", "clip": 0.01}),
    ("noisy_label", {"optimizer": "sgd", "lora_rank": 2}),
    ("noisy_label", {"augment": "shift", "resample": "step", "forget_batch": 2}),
    ("scrub", {"augment": "affine"}),
]


@pytest.mark.parametrize(("name", "knobs"), ALONE)
def test_one_by_one_is_the_ordinary_step_where_batch_norm_is_frozen(tiny_network, toy, name, knobs):
    """With SGD, whose first step is the gradient; voxels that do not count would weigh scans unlike."""
    data = replace(toy, labels=np.where(toy.labels == IGNORED, 0, toy.labels))
    strategy, recipe = build(name, {"batch_norm": "frozen", "retain_batch": 3, "epochs": 2, "lr": 0.01, **knobs})
    recipe = replace(recipe, optimizer="sgd", weight_decay=0.0)
    whole, alone = (
        Unlearning(tiny_network(), data, strategy, recipe, 5, one_by_one=one_by_one) for one_by_one in (False, True)
    )
    for first, second in zip(whole, alone, strict=True):
        assert second.loss == pytest.approx(first.loss, rel=1e-4, abs=1e-6)
        assert second.metrics == pytest.approx(first.metrics, abs=2e-3, nan_ok=True)
    before = tiny_network().state_dict()
    for key, value in plain_state(whole.network).items():
        torch.testing.assert_close(plain_state(alone.network)[key], value, rtol=1e-3, atol=2e-6)
    assert any(not torch.equal(value, before[key]) for key, value in plain_state(alone.network).items())


def test_one_by_one_adds_up_the_gradients_of_single_scans(tiny_network, toy):
    """Written out: each scan alone through the network, every scan of a batch with the same share."""
    data = replace(toy, retain=((0, 1), (2,)), forget=((3, 6),), heldout=((10,),))
    recipe = Recipe(1, 0.1, weight_decay=0.0, retain_batch=3, forget_batch=2, optimizer="sgd", batch_norm="frozen")
    network, other = tiny_network(), tiny_network().eval()
    strategy = noisy_label(noise_rate=0.0, forget_weight=0.4)
    report = next(Unlearning(network, data, strategy, recipe, 0, one_by_one=True))
    total = 0.0
    for scan in (0, 1, 2, 3, 6):
        image, labels = torch.from_numpy(toy.images[scan]), torch.from_numpy(toy.labels[scan]).long()
        logits = F.interpolate(other(image[None, None]), size=(16, 16, 16), mode="trilinear")
        counted = labels != IGNORED
        cross = F.nll_loss(logits[0].log_softmax(0)[:, counted].T, labels[counted])
        p = logits[0].softmax(0)[:, counted]
        dice = [2 * p[c][labels[counted] == c].sum() / (p[c].sum() + (labels == c).sum()) for c in (1, 2)]
        total = total + ((cross + 1 - sum(dice) / 2) / 3 if scan < 3 else 0.4 * cross / 2)
    gradients = torch.autograd.grad(total, list(other.parameters()))
    assert report.loss == pytest.approx(total.item(), rel=1e-5)
    for ours, before, gradient in zip(network.parameters(), other.parameters(), gradients, strict=True):
        torch.testing.assert_close(ours, before - 0.1 * gradient, rtol=1e-4, atol=1e-6)


def training_passes(loop):
    """The number of scans in each pass of an epoch's training through the network."""
    sizes = []

    def see(encoder, given, features):
        if encoder.training:
            sizes.append(len(given[0]))

    hook = loop.network.encoder.register_forward_hook(see)
    report = next(loop)
    hook.remove()
    return sizes, report


@pytest.mark.parametrize("name", ["noisy_label", "scrub", "bad_teacher", "random_encoder"])
def test_one_scan_at_a_time_goes_through_the_network(tiny_network, toy, name):
    strategy, recipe = build(name, {"retain_batch": 3, "forget_batch": 2, "epochs": 1})
    whole, alone = (
        training_passes(Unlearning(tiny_network(), toy, strategy, recipe, 0, one_by_one=one_by_one))[0]
        for one_by_one in (False, True)
    )
    assert max(whole) >= 3
    assert alone == [1] * sum(whole)


def test_one_by_one_continues_from_its_state_bit_for_bit(start):
    whole, stopped, continued = (start(one_by_one=True) for _ in range(3))
    reports = told(whole)
    next(stopped), next(stopped)
    continued.load_state_dict(stopped.state_dict())
    assert told(continued) == reports[2:]
    assert same_weights(continued, whole)


def test_one_by_one_a_loss_that_is_not_finite_leaves_the_network_as_it_was_before_the_step(start, toy, tiny_network):
    """Though scans before the poisoned one have gone through it."""
    data, _ = poisoned(toy)
    sizes, report = training_passes(start(data, recipe=replace(RECIPE, retain_batch=7), one_by_one=True))
    assert (report.diverged, sizes) == (True, [1] * 8)
    loop = start(data, recipe=replace(RECIPE, retain_batch=7), one_by_one=True)
    next(loop)
    assert loop.finished
    for name, value in tiny_network().state_dict().items():
        assert torch.equal(loop.network.state_dict()[name], value), name
