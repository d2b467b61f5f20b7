"""What moves and what stays, bit for bit, under optimisers that move weights without a gradient."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from trainables.mechanics.scopes import (
    DECODER,
    ENCODER,
    EVERYTHING,
    LowRank,
    adapt,
    last_stages,
    mask_weights,
    normalisations,
    open_scope,
    plain_state,
    training_mode,
)

OPTIMIZERS = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.3),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.1),
}


@pytest.fixture
def train(toy):
    """Takes steps on the toy cohort with an optimiser of what may learn."""

    def run(network, steps=4, optimizer="adamw"):
        moving = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = OPTIMIZERS[optimizer](moving)
        images, labels = torch.from_numpy(toy.images[:4, None]), torch.from_numpy(toy.labels[:4]).long()
        for _ in range(steps):
            optimizer.zero_grad()
            logits = F.interpolate(network(images), labels.shape[1:], mode="trilinear")
            F.cross_entropy(logits, labels, ignore_index=255).backward()
            optimizer.step()

    return run


def values_of(network):
    return {name: value.detach().clone() for name, value in plain_state(network).items()}


def half(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(value.shape, generator=generator) < 0.5 for name, value in network.named_parameters()}


STAGES = ["decoder", "layer4", "layer3", "layer2", "layer1", "first"]


def stage_of(name):
    part, child, *_ = name.split(".")
    return "decoder" if part == "decoder" else "first" if child in ("conv1", "bn1") else child


@pytest.mark.parametrize("count", range(1, 7))
def test_the_last_stages_are_the_decoder_and_then_backwards(med3d_10, count):
    network = med3d_10()
    open_scope(network, last_stages(count))
    learning = {stage_of(name) for name, value in network.named_parameters() if value.requires_grad}
    resting = {stage_of(name) for name, value in network.named_parameters() if not value.requires_grad}
    assert learning == set(STAGES[:count])
    assert resting == set(STAGES[count:])


@pytest.mark.parametrize("moves", [ENCODER, DECODER, EVERYTHING, ()])
def test_a_scope_opens_what_it_names_and_closes_the_rest(tiny_network, moves):
    network = tiny_network()
    open_scope(network, EVERYTHING)
    open_scope(network, moves)
    assert {name.split(".")[0] for name, value in network.named_parameters() if value.requires_grad} == set(moves)


@pytest.mark.parametrize("frozen_statistics", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_training_mode_is_for_what_moves_and_running_statistics_may_rest(med3d_10, toy, count, frozen_statistics):
    network = med3d_10().train()
    training_mode(network, last_stages(count), frozen_statistics)
    before = {name: value.clone() for name, value in network.named_buffers()}
    network(torch.from_numpy(toy.images[:2, None]))
    moved = {stage_of(name) for name, value in network.named_buffers() if not torch.equal(value, before[name])}
    assert moved == (set() if frozen_statistics else set(STAGES[:count]))
    assert network.decoder.training
    training_mode(network, (), False)
    assert not any(module.training for module in network.modules())


def test_normalisations_are_all_batch_norms(med3d_10):
    network = med3d_10()
    found = {id(module) for module in normalisations(network)}
    assert found == {id(module) for module in network.modules() if type(module) is nn.BatchNorm3d}
    assert len(found) == 14


def test_low_rank_is_the_kernel_plus_a_scaled_product():
    kernel = torch.randn(6, 4, 3, 3, 3)
    adapter = LowRank(kernel, 2, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(adapter(kernel), kernel)
    with torch.no_grad():
        adapter.up.normal_()
    expected = kernel.clone()
    for row in range(6):
        for rank in range(2):
            expected[row] += 0.5 * adapter.up[row, rank] * adapter.down[rank].view(4, 3, 3, 3)
    torch.testing.assert_close(adapter(kernel), expected)
    difference = (adapter(kernel) - kernel).flatten(1)
    assert torch.linalg.matrix_rank(difference, tol=1e-4) == 2


@pytest.mark.parametrize("moves", [ENCODER, DECODER, EVERYTHING])
def test_adapters_start_as_the_identity_and_nothing_else_learns(med3d_10, moves, toy):
    network, images = med3d_10().eval(), torch.from_numpy(toy.images[:2, None])
    before = network(images)
    convolutions = {
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and name.startswith(moves)
    }
    open_scope(network, moves)
    adapt(network, rank=3, scale=4.0, seed=0)
    assert torch.equal(network(images), before)
    learning = {name for name, value in network.named_parameters() if value.requires_grad}
    assert learning == {
        f"{name}.parametrizations.weight.0.{part}" for name in convolutions for part in ("down", "up")
    }


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_merged_adapters_are_a_plain_network_that_computes_the_same(med3d_10, toy, train, optimizer):
    network, images = med3d_10(), torch.from_numpy(toy.images[4:7, None])
    before, keys = copy.deepcopy(network.state_dict()), set(network.state_dict())
    open_scope(network, EVERYTHING)
    adapt(network, rank=2, scale=2.0, seed=0)
    train(network.train(), steps=3, optimizer=optimizer)

    state = plain_state(network)
    assert set(state) == keys
    fresh = med3d_10()
    fresh.load_state_dict(state)
    network.eval(), fresh.eval()
    adapted, merged, original = (model(images) for model in (network, fresh, med3d_10().eval()))
    torch.testing.assert_close(merged, adapted, rtol=1e-5, atol=1e-5)
    assert (merged - original).abs().max() > 0.1
    for name, value in state.items():
        if value.ndim == 5:
            difference = (value - before[name]).flatten(1)
            assert torch.linalg.matrix_rank(difference, tol=1e-3 * difference.norm()) <= 2, name
            assert difference.any(), name
        elif "running" not in name and "batches" not in name:  # weights of BatchNorm and biases
            assert torch.equal(value, before[name]), name


def test_adapters_follow_their_seed_and_leave_the_global_generator_alone(tiny_network):
    def adapters(seed):
        network = tiny_network()
        state = torch.get_rng_state()
        adapt(network, 2, 1.0, seed)
        assert torch.equal(torch.get_rng_state(), state)
        return torch.cat([value.flatten() for name, value in network.named_parameters() if name.endswith("down")])

    assert torch.equal(adapters(0), adapters(0))
    assert not torch.equal(adapters(0), adapters(1))


def test_a_plain_network_is_its_own_plain_state(tiny_network):
    network = tiny_network()
    state = plain_state(network)
    assert state.keys() == network.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_unmarked_weights_stay_bit_identical_under_momentum_and_decay(tiny_network, train, optimizer):
    network = tiny_network().train()
    before, masks = values_of(network), half(network)
    mask_weights(network, masks)
    assert all(torch.equal(value, before[name]) for name, value in values_of(network).items())
    train(network, optimizer=optimizer)
    after = values_of(network)
    assert after.keys() == before.keys()
    for name, mask in masks.items():
        assert torch.equal(after[name][~mask], before[name][~mask]), name
        assert (after[name] != before[name])[mask].all(), name
    fresh = tiny_network()
    fresh.load_state_dict(after)
    image = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(fresh.eval()(image), network.eval()(image))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_mask_moves_marked_weights_as_if_there_were_none(tiny_network, train, optimizer):
    """With a mask that marks everything; and one step with half a mask moves that half as usual."""
    everything, masked, plain, other = (tiny_network().train() for _ in range(4))
    mask_weights(everything, {name: torch.ones_like(mask) for name, mask in half(everything).items()})
    masks = half(masked)
    mask_weights(masked, masks)
    train(masked, 1, optimizer), train(plain, 1, optimizer)
    for name, mask in masks.items():
        assert torch.equal(values_of(masked)[name][mask], values_of(plain)[name][mask]), name
    train(everything, 3, optimizer), train(other, 3, optimizer)
    assert all(torch.equal(value, values_of(other)[name]) for name, value in values_of(everything).items())


def test_parameters_without_a_mask_move_freely(tiny_network, train):
    network = tiny_network().train()
    before = values_of(network)
    mask_weights(network, {"decoder.weight": torch.zeros_like(network.decoder.weight, dtype=torch.bool)})
    train(network)
    same = {name for name, value in values_of(network).items() if torch.equal(value, before[name])}
    assert same == {"decoder.weight"}


def test_adapters_under_a_mask_move_marked_weights_alone(tiny_network, train):
    network, image = tiny_network().train(), torch.randn(1, 1, 16, 16, 16)
    before, masks = values_of(network), half(network)
    open_scope(network, EVERYTHING)
    adapt(network, rank=1, scale=1.0, seed=0)
    mask_weights(network, masks)
    assert all(torch.equal(value, before[name]) for name, value in values_of(network).items())
    train(network)
    after = values_of(network)
    assert after.keys() == before.keys()
    for name, mask in masks.items():
        assert torch.equal(after[name][~mask], before[name][~mask]), name
        kernel = after[name].ndim == 5
        assert (after[name] != before[name])[mask].all() == kernel, name  # BatchNorm and biases have no adapter
    fresh = tiny_network()
    fresh.load_state_dict(after)
    torch.testing.assert_close(fresh.eval()(image), network.eval()(image))


def test_a_masked_network_continues_from_its_state(tiny_network, train):
    first, second = tiny_network().train(), tiny_network(seed=3).train()
    for network in (first, second):
        mask_weights(network, half(network, seed=int(network is second)))
    train(first)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(value, values_of(first)[name]) for name, value in values_of(second).items())
    train(first), train(second)
    assert all(torch.equal(value, values_of(first)[name]) for name, value in values_of(second).items())
    assert parametrize.is_parametrized(second.decoder)
