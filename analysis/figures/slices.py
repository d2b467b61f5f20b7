"""Pictures of segmentations: middle slices side by side, and an animated walk through the slices."""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from analysis.figures.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, YELLOW

_CLASSES = (VERMILLION, SKY, YELLOW, GREEN, PURPLE, BLUE, ORANGE)
_PLANES = (("axial", 0, "L", "R"), ("coronal", 1, "L", "R"), ("sagittal", 2, "P", "A"))
"""Name, the axis of (D, H, W) that is cut, and what lies to the left and right of the picture."""

_OTHERS = ((1, 2), (0, 2), (0, 1))
_INCHES, _FRAMES = 3.2, 48
"""The width of a panel, and the most frames of a walk."""


def mid_slices(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    classes: Sequence[str],
    spacing_mm: Sequence[float],
    title: str,
) -> bytes:
    """A PNG: the three planes through the largest sections of the first map's structures, a column per map.

    Args:
        image: (D, H, W), any intensities; 0 is no part of the scan: black, and left out around it.
        maps: title -> (D, H, W) classes; 0 and what is no class are not drawn.
        classes: names, the background first.
        spacing_mm: voxel size along (D, H, W).
        title: above all.
    """
    image, maps = _tight(image, maps)
    centre, window = _centre(next(iter(maps.values())), len(classes)), _window(image)
    depth, height, width = np.multiply(image.shape, spacing_mm)
    ratios = [height / width, depth / width, depth / height]  # every panel is as wide as the others
    columns = len(maps) + 1
    size = _INCHES * columns, _INCHES * sum(ratios) + 0.7 + _legend_inches(classes, _INCHES * columns)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    axes = figure.subplots(3, columns, squeeze=False, height_ratios=ratios)
    for row, (plane, axis, left, right) in zip(axes, _PLANES, strict=True):
        for place, (name, classes_of) in enumerate([("scan", None), *maps.items()]):
            _draw(row[place], image, classes_of, axis, centre[axis], len(classes), spacing_mm, window)
            row[place].set_title(name if axis == 0 else "", fontsize=11)
        row[0].set_ylabel(plane, fontsize=11)
        _sides(row[0], left, right)
    figure.suptitle(title, fontsize=12)
    _legend(figure, classes)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def slice_through(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    classes: Sequence[str],
    spacing_mm: Sequence[float],
    title: str,
    file: str,
) -> None:
    """Write a GIF that walks through the axial slices from bottom to top; arguments as of `mid_slices`."""
    image, maps = _tight(image, maps)
    window = _window(image)
    _, height, width = np.multiply(image.shape, spacing_mm)
    size = _INCHES * len(maps), _INCHES * height / width + 0.6 + _legend_inches(classes, _INCHES * len(maps))
    figure = Figure(figsize=size, dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(maps), squeeze=False)[0]
    _legend(figure, classes)
    head, frames = figure.suptitle("", fontsize=11), []
    for place in np.linspace(0, len(image) - 1, min(_FRAMES, len(image))).round().astype(int):
        for panel, (name, classes_of) in zip(axes, maps.items(), strict=True):
            panel.clear()
            _draw(panel, image, classes_of, 0, place, len(classes), spacing_mm, window)
            panel.set_title(name, fontsize=11)
        _sides(axes[0], *_PLANES[0][2:])
        head.set_text(f"{title}, slice {place + 1} of {len(image)}")
        canvas.draw()
        figure.set_layout_engine("none")  # the layout of the first frame stays
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        frames.append(drawn.quantize(method=Image.Quantize.MAXCOVERAGE))  # others lose rare classes among the greys
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=125, loop=0)


def _tight(image: np.ndarray, maps: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Both without the zeros around the scan."""
    seen = [np.flatnonzero(image.any(axis=others)) for others in _OTHERS]
    box = tuple(slice(places[0], places[-1] + 1) if len(places) else slice(None) for places in seen)
    return image[box], {name: classes_of[box] for name, classes_of in maps.items()}


def _window(image: np.ndarray) -> tuple[float, float]:
    """The intensities that are black and white."""
    low, high = np.percentile(image[image != 0], (1, 99)) if image.any() else (0, 1)
    return float(low), float(high)


def _draw(axes, image, classes_of, axis, place, count, spacing_mm, window) -> None:  # type: ignore[no-untyped-def]
    """One slice; up is superior, or anterior in the axial plane."""
    rows, columns = (spacing_mm[other] for other in range(3) if other != axis)
    shown = {"origin": "lower", "aspect": rows / columns, "interpolation": "nearest"}
    axes.set_facecolor("black")
    axes.imshow(np.ma.masked_equal(image.take(place, axis), 0), cmap="gray", vmin=window[0], vmax=window[1], **shown)
    if classes_of is not None:
        cut = classes_of.take(place, axis)
        hidden = np.ma.masked_where((cut == 0) | (cut >= count), cut)
        axes.imshow(hidden, cmap=ListedColormap(_colours(count)), vmin=1, vmax=count - 1, alpha=0.6, **shown)
    axes.set_xticks([])
    axes.set_yticks([])


def _sides(axes, left, right) -> None:  # type: ignore[no-untyped-def]
    for place, side, name in ((0.02, "left", left), (0.98, "right", right)):
        shown = {"color": "white", "fontsize": 9, "bbox": {"color": "black", "pad": 1.5}}
        axes.text(place, 0.03, name, transform=axes.transAxes, ha=side, **shown)


def _legend(figure: Figure, classes: Sequence[str]) -> None:
    patches = [
        Patch(color=colour, label=name) for colour, name in zip(_colours(len(classes)), classes[1:], strict=True)
    ]
    columns = _legend_columns(classes, figure.get_figwidth())
    figure.legend(handles=patches, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)


def _legend_columns(classes: Sequence[str], inches: float) -> int:
    """How many names fit side by side."""
    longest = max(map(len, classes[1:]), default=1)
    return max(1, min(len(classes) - 1, int(inches / (0.6 + 0.075 * longest))))


def _legend_inches(classes: Sequence[str], inches: float) -> float:
    """The height of the legend of a figure of that width."""
    return 0.2 * math.ceil((len(classes) - 1) / _legend_columns(classes, inches))


def _colours(count: int) -> list[str]:
    """One per class, without the background."""
    if count - 1 <= len(_CLASSES):
        return list(_CLASSES[: count - 1])
    table = colormaps["tab20"]
    colours = [to_hex(table(place)) for place in range(20) if place not in (14, 15)]  # no grey on a grey scan
    return [colours[place % len(colours)] for place in range(count - 1)]


def _centre(classes_of: np.ndarray, count: int) -> list[int]:
    """The place of the largest section along each axis, or the middle where nothing is segmented."""
    seen = (classes_of > 0) & (classes_of < count)
    if not seen.any():
        return [size // 2 for size in seen.shape]
    return [int(seen.sum(axis=others).argmax()) for others in _OTHERS]
