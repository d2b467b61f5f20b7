"""MedicalNet from its description, without a line of Lethe: `python medicalnet.py MODEL.pth IMAGES.npy LABELS.npy`.

Prints the mean foreground Dice of every scan, from `module.*` weights as MedicalNet saves them.
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


def convolution(before, after, kernel, stride=1, dilation=1):
    padding = dilation if kernel == 3 else 0
    return nn.Conv3d(before, after, kernel, stride, padding, dilation, bias=False)


class Block(nn.Module):
    """A residual block; depth 50 has bottlenecks, depth 18 a shortcut without weights."""

    def __init__(self, before, inner, stride, dilation, depth):
        super().__init__()
        after = inner * 4 if depth == 50 else inner
        kernels = [(before, inner, 1), (inner, inner, 3), (inner, after, 1)]
        if depth != 50:
            kernels = [(before, inner, 3), (inner, after, 3)]
        strided = 1 if depth == 50 else 0
        self.count, self.stride, self.after = len(kernels), stride, after
        for number, (i, o, kernel) in enumerate(kernels):
            conv = convolution(i, o, kernel, stride if number == strided else 1, dilation if kernel == 3 else 1)
            self.add_module(f"conv{number + 1}", conv)
            self.add_module(f"bn{number + 1}", nn.BatchNorm3d(o))
        if (stride, before) != (1, after) and depth != 18:
            self.downsample = nn.Sequential(convolution(before, after, 1, stride), nn.BatchNorm3d(after))

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = y if number == self.count else F.relu(y)
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        else:
            x = x[..., :: self.stride, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, self.after - x.shape[1]))
        return F.relu(x + y)


class MedicalNet(nn.Module):
    def __init__(self, depth, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(1, 64, 7, 2, 3, bias=False), nn.BatchNorm3d(64)
        channels = 64
        for number, (blocks, stride, dilation) in enumerate(
            zip(BLOCKS[depth], (1, 2, 1, 1), (1, 1, 2, 4), strict=True)
        ):
            layer = nn.Sequential()
            for place in range(blocks):
                block = Block(channels, 64 * 2**number, stride if place == 0 else 1, dilation, depth)
                channels = block.after
                layer.append(block)
            self.add_module(f"layer{number + 1}", layer)
        self.conv_seg = nn.Sequential(
            *(nn.ConvTranspose3d(channels, 32, 2, 2), nn.BatchNorm3d(32), nn.ReLU(), convolution(32, 32, 3)),
            *(nn.BatchNorm3d(32), nn.ReLU(), convolution(32, classes, 1)),
        )

    def forward(self, x):
        x = F.max_pool3d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.conv_seg(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


def scan_dice(network, image, labels, classes):
    """Dice of one (D, H, W) scan: the mean over foreground classes that are in the reference or the prediction."""
    with torch.no_grad():
        logits = F.interpolate(network(image[None, None]), image.shape, mode="trilinear", align_corners=False)
    predicted, found = logits.argmax(1)[0], []
    for one in range(1, classes):
        p, r = (predicted == one) & (labels != 255), labels == one
        if p.any() or r.any():
            found.append(2 * (p & r).sum().item() / (p.sum() + r.sum()).item())
    return sum(found) / len(found)


def main():
    state = torch.load(sys.argv[1], weights_only=True)["state_dict"]
    blocks = len({key.split(".")[2] for key in state if key.startswith("module.layer3.")})
    classes = len(state["module.conv_seg.6.weight"])
    network = nn.DataParallel(MedicalNet({1: 10, 2: 18, 6: 50}[blocks], classes))
    network.load_state_dict(state, strict=True)
    network = network.module.cpu().eval()
    images, labels = (torch.from_numpy(np.load(path)) for path in sys.argv[2:])
    for image, truth in zip(images, labels, strict=True):
        print(scan_dice(network, image, truth, classes))


if __name__ == "__main__":
    main()
