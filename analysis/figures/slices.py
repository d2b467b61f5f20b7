"""Pictures of segmentations: middle slices side by side, and an animated walk through the slices."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

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
    image, maps, shades = _tight(image, maps)
    centre = _centre(next(iter(maps.values())), len(classes))
    depth, height, width = np.multiply(image.shape, spacing_mm)
    ratios = [height / width, depth / width, depth / height]  # every panel is as wide as the others
    figure, axes = _panels(ratios, len(maps) + 1, classes, head_inches=0.7, dpi=110)
    for row, (plane, axis, left, right) in zip(axes, _PLANES, strict=True):
        for panel, (name, classes_of) in zip(row, [("scan", None), *maps.items()], strict=True):
            _draw(panel, image, classes_of, axis, centre[axis], len(classes), spacing_mm, shades)
            panel.set_title(name if axis == 0 else "", fontsize=11)
        row[0].set_ylabel(plane, fontsize=11)
        _sides(row[0], left, right)
    figure.suptitle(title, fontsize=12)
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
    image, maps, shades = _tight(image, maps)
    _, height, width = np.multiply(image.shape, spacing_mm)
    figure, (axes,) = _panels([height / width], len(maps), classes, head_inches=0.6, dpi=80)
    canvas = FigureCanvasAgg(figure)
    head, frames = figure.suptitle("", fontsize=11), []
    for place in np.linspace(0, len(image) - 1, min(_FRAMES, len(image))).round().astype(int):
        for panel, (name, classes_of) in zip(axes, maps.items(), strict=True):
            panel.clear()
            _draw(panel, image, classes_of, 0, place, len(classes), spacing_mm, shades)
            panel.set_title(name, fontsize=11)
        _sides(axes[0], *_PLANES[0][2:])
        head.set_text(f"{title}, slice {place + 1} of {len(image)}")
        canvas.draw()
        figure.set_layout_engine("none")  # the layout of the first frame stays
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        frames.append(drawn.quantize(method=Image.Quantize.MAXCOVERAGE))  # others lose rare classes among the greys
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=125, loop=0)


def _tight(
    image: np.ndarray, maps: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]:
    """Scan and maps without the zeros around the scan, and its greys: black to white between two percentiles."""
    seen = [np.flatnonzero(image.any(axis=others)) for others in _OTHERS]
    box = tuple(slice(places[0], places[-1] + 1) if len(places) else slice(None) for places in seen)
    low, high = np.percentile(image[image != 0], (1, 99)) if image.any() else (0, 1)
    shades = {"cmap": "gray", "vmin": float(low), "vmax": float(high)}
    return image[box], {name: classes_of[box] for name, classes_of in maps.items()}, shades


def _panels(
    ratios: Sequence[float], columns: int, classes: Sequence[str], head_inches: float, dpi: int
) -> tuple[Figure, np.ndarray]:
    """A figure with a legend of the classes, and its axes: a row for each ratio of a panel's height to its width."""
    width, longest = _INCHES * columns, max(map(len, classes[1:]), default=1)
    beside = max(1, min(len(classes) - 1, int(width / (0.6 + 0.075 * longest))))  # names that fit side by side
    height = _INCHES * sum(ratios) + head_inches + 0.2 * math.ceil((len(classes) - 1) / beside)
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    named = zip(_colours(len(classes)), classes[1:], strict=True)
    patches = [Patch(color=colour, label=name) for colour, name in named]
    figure.legend(handles=patches, loc="outside lower center", ncols=beside, fontsize=9, frameon=False)
    return figure, figure.subplots(len(ratios), columns, squeeze=False, height_ratios=ratios)


def _draw(axes, image, classes_of, axis, place, count, spacing_mm, shades) -> None:  # type: ignore[no-untyped-def]
    """One slice; up is superior, or anterior in the axial plane."""
    rows, columns = (spacing_mm[other] for other in range(3) if other != axis)
    options = {"origin": "lower", "aspect": rows / columns, "interpolation": "nearest"}
    axes.set_facecolor("black")
    axes.imshow(np.ma.masked_equal(image.take(place, axis), 0), **shades, **options)
    if classes_of is not None:
        cut = classes_of.take(place, axis)
        hidden = np.ma.masked_where((cut == 0) | (cut >= count), cut)
        axes.imshow(hidden, cmap=ListedColormap(_colours(count)), vmin=1, vmax=count - 1, alpha=0.6, **options)
    axes.set(xticks=[], yticks=[])


def _sides(axes, left, right) -> None:  # type: ignore[no-untyped-def]
    style = {"color": "white", "fontsize": 9, "bbox": {"color": "black", "pad": 1.5}}
    for place, side, name in ((0.02, "left", left), (0.98, "right", right)):
        axes.text(place, 0.03, name, transform=axes.transAxes, ha=side, **style)


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
