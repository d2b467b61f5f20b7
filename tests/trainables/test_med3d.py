"""The network against an independent MedicalNet: key names, numbers, geometry; and the loading of weights."""

import copy
import os
import pickle
from itertools import product
from pathlib import Path

import pytest
import torch
from monai.networks.nets import resnet
from torch import nn
from torch.nn import functional as F

from trainables import med3d as module
from trainables.med3d import (
    DEPTHS,
    WeightsError,
    initialise,
    load_state,
    load_weights,
    med3d,
    upsample,
)

# MedicalNet's models/resnet.py and its README: blocks per layer, 1x1 bottlenecks, parameter-free shortcuts.
BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
BOTTLENECK = {50}
SHORTCUT_A = {18, 34}
STRIDES = (1, 2, 1, 1)
DILATIONS = (1, 1, 2, 4)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def networks():
    """A network of four classes for every depth; a test may load weights into them, nothing else."""

    class Drawn(dict):
        def __missing__(self, depth):
            torch.manual_seed(1)
            return self.setdefault(depth, med3d(depth, classes=4))

    return Drawn()


@pytest.fixture
def network(networks):
    """A depth-10 network of four classes that the test may change."""
    return copy.deepcopy(networks[10])


@pytest.fixture(scope="module")
def checkpoint():
    """MedicalNet's depth-10 checkpoint of four classes with random weights; not to be changed in place."""
    torch.manual_seed(2)
    return random_state(10)


def batch_norm(name, channels):
    yield from ((f"{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var"))
    yield f"{name}.num_batches_tracked", ()


def medicalnet_blocks(depth):
    """(prefix, channels in, inner channels, channels out, stride, dilation, has projection) of every block."""
    channels = 64
    for number, (blocks, stride, dilation) in enumerate(zip(BLOCKS[depth], STRIDES, DILATIONS, strict=True)):
        inner = 64 * 2**number
        out = inner * (4 if depth in BOTTLENECK else 1)
        for index in range(blocks):
            step = stride if index == 0 else 1
            changes = index == 0 and (number > 0 or channels != out)
            yield f"layer{number + 1}.{index}", channels, inner, out, step, dilation, changes
            channels = out


def medicalnet_shapes(depth, classes):
    """Key -> shape of a MedicalNet checkpoint."""
    shapes = {"conv1.weight": (64, 1, 7, 7, 7), **dict(batch_norm("bn1", 64))}
    for prefix, channels, inner, out, _, _, changes in medicalnet_blocks(depth):
        if depth in BOTTLENECK:
            convolutions = [(inner, channels, 1), (inner, inner, 3), (out, inner, 1)]
        else:
            convolutions = [(inner, channels, 3), (inner, inner, 3)]
        for number, (after, before, kernel) in enumerate(convolutions, start=1):
            shapes[f"{prefix}.conv{number}.weight"] = (after, before, kernel, kernel, kernel)
            shapes.update(batch_norm(f"{prefix}.bn{number}", after))
        if changes and depth not in SHORTCUT_A:
            shapes[f"{prefix}.downsample.0.weight"] = (out, channels, 1, 1, 1)
            shapes.update(batch_norm(f"{prefix}.downsample.1", out))
    shapes["conv_seg.0.weight"], shapes["conv_seg.0.bias"] = (out, 32, 2, 2, 2), (32,)
    shapes.update(batch_norm("conv_seg.1", 32))
    shapes["conv_seg.3.weight"] = (32, 32, 3, 3, 3)
    shapes.update(batch_norm("conv_seg.4", 32))
    shapes["conv_seg.6.weight"] = (classes, 32, 1, 1, 1)
    return shapes


def random_state(depth):
    """A MedicalNet checkpoint with random weights of a size that keeps activations near one."""
    state = {}
    for key, shape in medicalnet_shapes(depth, 4).items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        elif len(shape) == 5:
            state[key] = torch.randn(shape) * (2 / (shape[1] * shape[2] ** 3)) ** 0.5
        else:
            state[key] = torch.rand(shape) + 0.5
    return state


def prefixed(state, prefix="module."):
    return {prefix + key: value for key, value in state.items()}


def encoder_keys(state):
    return {key: value for key, value in state.items() if "conv_seg" not in key}


def reference_features(state, depth, image):
    """MedicalNet's forward pass to layer4 in evaluation mode, in plain torch functions."""

    def conv_bn(x, conv, bn, stride=1, padding=0, dilation=1):
        x = F.conv3d(x, state[f"{conv}.weight"], None, stride, padding, dilation)
        mean, var, weight, bias = (
            state[f"{bn}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias)

    x = F.max_pool3d(F.relu(conv_bn(image, "conv1", "bn1", stride=2, padding=3)), 3, 2, 1)
    for p, channels, _, out, stride, dilation, changes in medicalnet_blocks(depth):
        wide = {"padding": dilation, "dilation": dilation}
        if depth in BOTTLENECK:
            y = F.relu(conv_bn(x, f"{p}.conv1", f"{p}.bn1"))
            y = F.relu(conv_bn(y, f"{p}.conv2", f"{p}.bn2", stride=stride, **wide))
            y = conv_bn(y, f"{p}.conv3", f"{p}.bn3")
        else:
            y = F.relu(conv_bn(x, f"{p}.conv1", f"{p}.bn1", stride=stride, **wide))
            y = conv_bn(y, f"{p}.conv2", f"{p}.bn2", **wide)
        if changes and depth in SHORTCUT_A:
            x = x[..., ::stride, ::stride, ::stride]
            x = torch.cat([x, x.new_zeros(len(x), out - channels, *x.shape[2:])], dim=1)
        elif changes:
            x = conv_bn(x, f"{p}.downsample.0", f"{p}.downsample.1", stride=stride)
        x = F.relu(y + x)
    return x


@pytest.mark.slow
@pytest.mark.parametrize("depth", DEPTHS)
def test_has_medicalnets_keys_and_shapes(networks, depth):
    shapes = {key: tuple(value.shape) for key, value in networks[depth].state_dict().items()}

    expected = {
        f"decoder.{key.removeprefix('conv_seg.')}" if key.startswith("conv_seg.") else f"encoder.{key}": shape
        for key, shape in medicalnet_shapes(depth, 4).items()
    }
    assert shapes == expected


@pytest.mark.parametrize("depth", [10, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (18, 50))])
def test_encoder_is_bit_identical_to_medicalnets(networks, depth):
    network = networks[depth].eval()
    state = random_state(depth)
    load_state(network, state, "random weights")
    image = torch.randn(1, 1, 34, 38, 40)

    with torch.no_grad():
        assert torch.equal(network.encoder(image), reference_features(state, depth, image))


@pytest.mark.parametrize("size", [(17, 33, 40), (8, 24, 32), (16, 48, 9)])
def test_taps_left_out_on_small_volumes_change_nothing(networks, size):
    network = copy.deepcopy(networks[10]).double().eval()
    state = random_state(10)
    load_state(network, state, "random weights")
    state = {key: value.double() if value.is_floating_point() else value for key, value in state.items()}
    image = torch.randn(1, 1, *size, dtype=torch.float64)

    with torch.no_grad():
        torch.testing.assert_close(
            network.encoder(image), reference_features(state, 10, image), rtol=1e-12, atol=1e-12
        )


def test_shortcut_a_carries_no_gradient_like_medicalnets(networks):
    """MedicalNet concatenates `out.data`: where the shape changes only the convolutions pass a gradient on."""
    block = copy.deepcopy(networks[18].encoder.get_submodule("layer3.0")).eval()
    x = torch.randn(1, 128, 4, 4, 4, requires_grad=True)
    nn.init.zeros_(block.bn2.weight)

    out = block(x)

    assert out.abs().sum() > 0
    assert torch.autograd.grad(out.sum(), x)[0].abs().sum() == 0


@pytest.mark.parametrize("size", [(24, 48, 48), (16, 24, 40), (25, 47, 50), (9, 17, 33)])
def test_sizes(networks, size):
    network = networks[10].eval()
    eighth = [-(-n // 8) for n in size]

    with torch.no_grad():
        image = torch.randn(2, 1, *size)
        logits = network(image)

        assert network.encoder(image).shape == (2, 512, *eighth)
        assert logits.shape == (2, 4, *(2 * n for n in eighth))
        assert upsample(logits, size).shape == (2, 4, *size)


@pytest.mark.parametrize(
    ("depth", "parameters"), [(10, 14_514_528), (18, 33_145_184), (34, 63_454_816), (50, 46_707_296)]
)
def test_parameter_count(networks, depth, parameters):
    assert sum(p.numel() for p in networks[depth].parameters()) == parameters
    assert [name for name, _ in networks[depth].named_children()] == ["encoder", "decoder"]


def test_upsample_interpolates_between_voxel_centres():
    """Centres of 8 fine voxels lie at (i + 1/2) / 4 - 1/2 on 2 coarse ones; ramps clamp at the border."""
    coarse = torch.tensor([0.0, 1.0]).view(1, 1, 1, 1, 2).expand(1, 1, 2, 2, 2)

    ramp = upsample(coarse, (8, 8, 8))[0, 0, 3, 3]

    expected = ((torch.arange(8) + 0.5) / 4 - 0.5).clamp(0, 1)
    torch.testing.assert_close(ramp, expected)


@pytest.mark.parametrize(
    ("layer", "dilation"), [("layer1", 1), ("layer3", 2), pytest.param("layer4", 4, marks=pytest.mark.slow)]
)
def test_a_block_sees_two_dilated_convolutions_wide(network, layer, dilation):
    """Two 3x3x3 convolutions of dilation d at stride 1 reach the offsets -2d, -d, 0, d and 2d along each axis."""
    block = network.encoder.get_submodule(f"{layer}.0").eval().requires_grad_(False)
    for parameter in block.parameters():
        nn.init.ones_(parameter)
    centre = 2 * dilation + 1
    x = torch.ones(1, block.conv1.in_channels, *[2 * centre + 1] * 3, requires_grad=True)

    block(x)[0, 0, centre, centre, centre].backward()

    assert x.grad is not None
    support = {tuple(index.tolist()) for index in x.grad[0, 0].nonzero()}
    reach = [centre + dilation * step for step in (-2, -1, 0, 1, 2)]
    assert support == set(product(reach, repeat=3))


def test_initialisation_is_medicalnets_and_follows_the_seed():
    torch.manual_seed(5)
    first = med3d(10)
    torch.manual_seed(5)
    second = med3d(10)

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    for name, part in first.named_modules():
        if isinstance(part, nn.Conv3d) and part.weight.numel() > 5000:
            fan_out = part.out_channels * part.kernel_size[0] ** 3
            torch.testing.assert_close(part.weight.std(), torch.tensor((2 / fan_out) ** 0.5), rtol=0.05, atol=0)
        elif isinstance(part, nn.BatchNorm3d):
            assert torch.all(part.weight == 1), name
            assert torch.all(part.bias == 0), name


PARTS = ("", "encoder", "decoder", "encoder.layer1.0", "encoder.bn1")


@pytest.mark.parametrize(
    "path",
    ["encoder.layer4", *(pytest.param(path, marks=pytest.mark.slow) for path in PARTS)],
)
def test_a_part_is_drawn_anew_as_a_new_network_is(network, checkpoint, path):
    load_state(network, checkpoint, "checkpoint")
    before, fresh = copy.deepcopy(network.state_dict()), med3d(10, classes=4).state_dict()
    initialise(network.get_submodule(path), seed=3)
    for name, value in network.state_dict().items():
        if not name.startswith(path):
            assert torch.equal(value, before[name]), name
        elif value.ndim == 5 or name == "decoder.0.bias":
            assert not torch.equal(value, before[name]), name
            deviation = 6 * value.numel() ** -0.5  # relative, of an estimated standard deviation
            torch.testing.assert_close(value.std(), fresh[name].std(), rtol=deviation, atol=0)
            assert abs(value.mean()) < 6 * fresh[name].std() * value.numel() ** -0.5, name
        else:  # BatchNorm: weight 1, bias 0, mean 0, variance 1, no batch
            ones = name.endswith((".running_var", "bn1.weight", "bn2.weight", "downsample.1.weight"))
            ones = ones or name in ("decoder.1.weight", "decoder.4.weight")
            assert torch.equal(value, torch.full_like(value, int(ones))), name


def test_drawing_anew_follows_the_seed_whatever_there_was_and_leaves_the_global_generator_alone(networks, network):
    def drawn(part, seed):
        initialise(part, seed)
        return [value.clone() for value in part.state_dict().values()]

    state = torch.get_rng_state()
    first = drawn(network.encoder.layer2, 5)
    assert torch.equal(torch.get_rng_state(), state)
    second = copy.deepcopy(networks[10].encoder.layer2)
    assert all(torch.equal(*pair) for pair in zip(drawn(second, 5), first, strict=True))
    assert not torch.equal(drawn(second, 6)[0], first[0])
    assert network.encoder.layer2[0].conv1.weight.requires_grad


@pytest.mark.parametrize("depth", [0, 12, 101])
def test_another_depth_is_refused(depth):
    with pytest.raises(ValueError, match="10, 18, 34, 50"):
        med3d(depth)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="classes >= 2"):
        med3d(10, classes=1)


@pytest.mark.parametrize(("prefix", "wrapped"), [("", False), ("", True), ("module.", False), ("module.", True)])
def test_loads_a_whole_checkpoint(tmp_path, network, checkpoint, prefix, wrapped):
    state = prefixed(checkpoint, prefix)
    torch.save({"epoch": 3, "state_dict": state} if wrapped else state, tmp_path / "w.pth")

    result = load_weights(network, tmp_path / "w.pth")

    own = network.state_dict()
    assert result == ()
    assert torch.equal(own["encoder.layer4.0.conv2.weight"], checkpoint["layer4.0.conv2.weight"])
    assert torch.equal(own["encoder.bn1.running_var"], checkpoint["bn1.running_var"])
    assert torch.equal(own["decoder.6.weight"], checkpoint["conv_seg.6.weight"])


def test_a_saved_network_loads_into_another(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "w.pth")
    other = med3d(10)

    load_weights(other, tmp_path / "w.pth")

    pairs = zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_encoder_without_batch_counters_leaves_the_decoder_as_it_was(network, checkpoint):
    before = copy.deepcopy(network.decoder.state_dict())
    state = encoder_keys(checkpoint)
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}

    result = load_state(network, state, "old")

    decoder = tuple(f"decoder.{key}" for key in before if not key.endswith("num_batches_tracked"))
    assert result == decoder
    assert all(torch.equal(value, before[key]) for key, value in network.decoder.state_dict().items())


def test_a_head_of_other_classes_is_left_and_reported(network, checkpoint):
    before = network.state_dict()["decoder.6.weight"].clone()
    state = {**checkpoint, "conv_seg.6.weight": torch.zeros(2, 32, 1, 1, 1)}

    result = load_state(network, state, "binary")

    own = network.state_dict()
    assert result == ("decoder.6.weight",)
    assert torch.equal(own["decoder.6.weight"], before)
    assert torch.equal(own["decoder.3.weight"], checkpoint["conv_seg.3.weight"])


@pytest.mark.parametrize(
    ("depth", "own", "hint"),
    [
        (50, 10, "looks like a depth-50 checkpoint; use --depth 50"),
        (18, 34, "looks like a depth-18 checkpoint; use --depth 18"),
        (34, 50, "looks like a depth-34 checkpoint; use --depth 34"),
    ],
)
def test_another_depth_is_recognised(networks, depth, own, hint):
    state = {key: torch.empty(shape) for key, shape in medicalnet_shapes(depth, 4).items()}

    with pytest.raises(WeightsError, match=hint) as caught:
        load_state(networks[own], state, "w.pth")

    assert len(str(caught.value).splitlines()) == 10  # what, eight keys, and how many more
    assert " more" in str(caught.value).splitlines()[-1]


def test_a_depth_that_is_not_offered_is_named(networks):
    state = {f"layer3.{i}.conv{j}.weight": torch.zeros(1) for i in range(33) for j in (1, 2, 3)}

    with pytest.raises(WeightsError, match="looks like a depth-101 checkpoint; legal depths: 10, 18, 34, 50"):
        load_state(networks[10], state, "w.pth")


def test_wrong_keys_and_shapes_are_listed_and_nothing_is_loaded(network, checkpoint):
    before = copy.deepcopy(network.state_dict())
    state = dict(checkpoint)
    del state["bn1.bias"]
    state["fc.weight"] = torch.zeros(400, 512)
    state["conv1.weight"] = torch.zeros(64, 3, 7, 7, 7)

    with pytest.raises(WeightsError) as caught:
        load_state(network, state, "w.pth")

    message = str(caught.value)
    assert "encoder.bn1.bias: network (64,), checkpoint absent" in message
    assert "encoder.fc.weight: network absent, checkpoint (400, 512)" in message
    assert "encoder.conv1.weight: network (64, 1, 7, 7, 7), checkpoint (64, 3, 7, 7, 7)" in message
    assert "depth-" not in message
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.999])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_refused(networks, tmp_path, kept, zipped):
    path = tmp_path / "w.pth"
    torch.save({"conv1.weight": torch.zeros(64, 1, 7, 7, 7)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])

    with pytest.raises(WeightsError, match="truncated"):
        load_weights(networks[10], path)


class Malicious:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("save", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj, protocol=2))])
def test_a_pickle_that_runs_code_is_refused_and_not_run(networks, tmp_path, save):
    save({"state_dict": Malicious(tmp_path / "ran")}, tmp_path / "w.pth")

    with pytest.raises(WeightsError, match="run code"):
        load_weights(networks[10], tmp_path / "w.pth")

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"model": {}, "epoch": 3}, {"state_dict": {"epoch": 3}}])
def test_a_file_without_a_state_dict_is_refused(networks, tmp_path, content):
    torch.save(content, tmp_path / "w.pth")

    with pytest.raises(WeightsError, match="holds no state dict"):
        load_weights(networks[10], tmp_path / "w.pth")


def test_an_absent_file_is_named(networks, tmp_path):
    with pytest.raises(WeightsError, match=r"absent\.pth cannot be read"):
        load_weights(networks[10], tmp_path / "absent.pth")


def test_without_a_download_the_message_says_what_to_do(monkeypatch):
    def offline(**_):
        raise ConnectionError("no route to host\nand a traceback")

    monkeypatch.setattr(resnet, "hf_hub_download", offline)

    with pytest.raises(WeightsError) as caught:
        module.medicalnet_state(10)

    message = str(caught.value)
    assert "no route to host" in message
    assert "resnet_10_23dataset.pth" in message
    assert "TencentMedicalNet/MedicalNet-Resnet10" in message
    assert "--weights FILE" in message
    assert "\n" not in message


def test_a_download_loads(monkeypatch, tmp_path, network, checkpoint):
    state = prefixed(encoder_keys(checkpoint))
    torch.save({"state_dict": state}, tmp_path / "resnet_10_23dataset.pth")
    monkeypatch.setattr(resnet, "hf_hub_download", lambda repo_id, filename: str(tmp_path / filename))

    result = load_state(network, module.medicalnet_state(10), "MedicalNet")

    assert all(key.startswith("decoder.") for key in result)
    assert torch.equal(network.state_dict()["encoder.conv1.weight"], state["module.conv1.weight"])
