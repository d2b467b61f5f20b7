"""Pictures, read back pixel by pixel: a panel is known by its frame, a class by the hue that the legend gives it."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence
from scipy import ndimage

from analysis.figures.slices import mid_slices, slice_through

MM = (1.0, 1.0, 1.0)
SHAPE = (24, 30, 20)
CLASSES = ("background", "tissue", "lesion", "cyst")
HIGH, LOW = slice(-5, None), slice(0, 5)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def frames(file):
    with Image.open(file) as moving:
        return [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(moving)]


def framed(picture):
    """Where panels are: within the black frames on the white page."""
    parts, _ = ndimage.label(ndimage.binary_fill_holes((picture < 128).all(-1) | coloured(picture)))
    large = np.bincount(parts.ravel()) > 2000
    large[0] = False  # the page
    return np.where(large[parts], parts, 0)


def panels_of(picture, columns, rows=3):
    """The panels, row by row."""
    parts = [part for part in ndimage.find_objects(framed(picture)) if part]
    assert len(parts) == rows * columns
    parts.sort(key=lambda part: part[0].start + part[0].stop)
    grid = [sorted(parts[row * columns :][:columns], key=lambda part: part[1].start) for row in range(rows)]
    return [[picture[part] for part in row] for row in grid]


def coloured(picture):
    return picture.max(-1) - picture.min(-1) > 30


def hues(picture):
    """What grey below and opacity leave as it is: the channels between the least and the largest."""
    low, high = picture.min(-1, keepdims=True), picture.max(-1, keepdims=True)
    return (picture - low) / np.maximum(high - low, 1)


def legend(picture, count):
    """The colours of the classes, from left to right."""
    parts = ndimage.find_objects(ndimage.label(coloured(picture) & (framed(picture) == 0))[0])
    parts = sorted((part for part in parts if part[1].stop - part[1].start > 9), key=lambda part: part[1].start)
    assert len(parts) == count
    return [np.median(picture[part].reshape(-1, 3), 0) for part in parts]


def where(panel, colour):
    """Of the pixels of this hue, the middle as fractions (from the bottom, from the left); None without any."""
    found = np.argwhere(coloured(panel) & (abs(hues(panel) - hues(colour)) < 0.08).all(-1))
    return (1 - found[:, 0].mean() / len(panel), found[:, 1].mean() / panel.shape[1]) if len(found) > 20 else None


def marked(*boxes, shape=SHAPE):
    labels = np.zeros(shape, np.uint8)
    for value, box in enumerate(boxes, 1):
        labels[box] = value
    return labels


def noise(shape=SHAPE):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def dark(shape=SHAPE):
    return np.zeros(shape, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "corner",
    [(HIGH, HIGH, HIGH), (LOW, HIGH, HIGH), (HIGH, LOW, HIGH), (HIGH, HIGH, LOW)],
    ids=["SAR", "IAR", "SPR", "SAL"],
)
def test_superior_and_anterior_are_up_and_right_is_right(corner):
    picture = pixels(mid_slices(noise(), {"reference": marked(corner)}, CLASSES[:2], MM, "a scan"))
    (colour,) = legend(picture, 1)
    high = [side is HIGH for side in corner]
    for (scan, shown), axis in zip(panels_of(picture, 2), range(3), strict=True):
        assert not coloured(scan).any()
        up, right = where(shown, colour)
        vertical, horizontal = (side for place, side in enumerate(high) if place != axis)
        assert (up > 0.7, up < 0.3) == (vertical, not vertical)
        assert (right > 0.7, right < 0.3) == (horizontal, not horizontal)


def test_the_scan_lies_below_its_labels():
    corner = (slice(-8, None),) * 3
    image = 1 + noise() / 100
    image[corner] = 100
    picture = pixels(mid_slices(image, {"reference": marked(corner)}, CLASSES[:2], MM, "a scan"))
    (colour,) = legend(picture, 1)
    for scan, shown in panels_of(picture, 2):
        bright = np.argwhere(scan[: len(scan) // 2].min(-1) > 200)  # the letters are at the bottom
        middle = 1 - bright[:, 0].mean() / len(scan), bright[:, 1].mean() / scan.shape[1]
        assert middle == pytest.approx(where(shown, colour), abs=0.03)


@pytest.mark.slow
def test_every_map_has_its_panels_and_every_class_the_colour_of_the_legend():
    middle = slice(8, 16)
    boxes = [(middle, middle, slice(start, start + 4)) for start in (2, 8, 14)]
    nothing, one = marked(), marked(*boxes[:1])
    maps = {"reference": marked(*boxes), "baseline": one, "unlearned": nothing}
    picture = pixels(mid_slices(noise(), maps, CLASSES, MM, "a scan"))
    colours = legend(picture, 3)
    (scan, reference, baseline, unlearned), *_ = panels_of(picture, 4)
    places = [where(reference, colour) for colour in colours]
    assert [place[1] for place in places] == pytest.approx([4 / 20, 10 / 20, 16 / 20], abs=0.05)
    assert where(baseline, colours[0]) == pytest.approx(places[0], abs=0.02)
    assert where(baseline, colours[1]) is where(baseline, colours[2]) is None
    assert not coloured(unlearned).any()
    assert not coloured(scan).any()


@pytest.mark.slow
def test_ignored_voxels_are_not_drawn():
    labels = marked((slice(8, 16), slice(8, 16), slice(4, 9)))
    labels[8:16, 8:16, 11:17] = 255
    picture = pixels(mid_slices(noise(), {"reference": labels}, CLASSES[:2], MM, "a scan"))
    (_, shown), *_ = panels_of(picture, 2)
    assert where(shown, legend(picture, 1)[0]) == pytest.approx((12 / 30, 6.5 / 20), abs=0.05)


@pytest.mark.slow
def test_the_planes_lie_where_the_first_map_has_something():
    boxes = [(slice(20, 22), slice(3, 6), slice(15, 17))]
    elsewhere = marked((slice(2, 4), slice(20, 25), slice(2, 4)))
    picture = pixels(mid_slices(noise(), {"a": marked(*boxes), "b": elsewhere}, CLASSES[:2], MM, "a scan"))
    (colour,) = legend(picture, 1)
    for _, first, second in panels_of(picture, 3):
        assert where(first, colour)
        assert where(second, colour) is None


@pytest.mark.slow
def test_of_two_bodies_with_nothing_between_one_is_cut():
    labels = np.zeros(SHAPE, np.uint8)
    for start in (2, 14):
        labels[8:16, 10:18, start : start + 4] = 1
    picture = pixels(mid_slices(noise(), {"reference": labels}, CLASSES[:2], MM, "a scan"))
    assert all(where(shown, legend(picture, 1)[0]) for _, shown in panels_of(picture, 2))


@pytest.mark.slow
def test_zeros_around_the_scan_take_no_room():
    """The picture of a scan on a larger grid is the picture of the scan."""
    labels = marked((slice(8, 16), slice(6, 16), slice(4, 9)))
    image = noise() + 100
    image[3:5] = 0  # within the scan they stay
    expected = pixels(mid_slices(image, {"reference": labels}, CLASSES[:2], MM, "a scan"))
    around = (4, 5), (0, 7), (9, 3)
    found = mid_slices(np.pad(image, around), {"reference": np.pad(labels, around)}, CLASSES[:2], MM, "a scan")
    assert np.array_equal(pixels(found), expected)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((16, 48, 40), (3.0, 1.0, 1.0)),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [((16, 48, 40), MM), ((40, 40, 40), (1.0, 0.5, 1.0)), (SHAPE, (1.0, 1.5, 2.0))]
        ),
    ],
)
def test_panels_have_the_proportions_of_the_body(shape, spacing):
    picture = pixels(mid_slices(noise(shape), {"reference": marked(shape=shape)}, CLASSES, spacing, "a scan"))
    depth, height, width = np.multiply(shape, spacing)
    proportions = height / width, depth / width, depth / height
    for row, proportion in zip(panels_of(picture, 2), proportions, strict=True):
        for panel in row:
            assert len(panel) / panel.shape[1] == pytest.approx(proportion, rel=0.04)


@pytest.mark.slow
def test_a_map_without_anything_and_an_image_without_anything_are_drawn():
    picture = pixels(mid_slices(dark(), {"reference": marked()}, CLASSES, MM, "a scan"))
    assert not any(coloured(panel).any() for row in panels_of(picture, 2) for panel in row)
    assert len(legend(picture, 3)) == 3


@pytest.mark.slow
@pytest.mark.parametrize(("length", "count"), [(45, 8), (4, 30), (12, 3)])
def test_a_legend_of_any_names_is_whole_and_takes_no_room_from_the_panels(tmp_path, length, count):
    long = "inferior_lateral_ventricle_and_its_choroid_plexus"
    names = ["background", *(f"{place}{long}"[:length] for place in range(1, count))]
    maps, file = {name: marked(shape=(1, 30, 20)) for name in "abc"}, tmp_path / "walk.gif"
    slice_through(noise((1, 30, 20)), maps, names, MM, "a scan", str(file))
    still = mid_slices(noise(), {name: marked() for name in "ab"}, names, MM, "a scan")
    for picture, rows in ((frames(file)[0], 1), (pixels(still), 3)):
        assert min(picture[:, 0].min(), picture[:, -1].min(), picture[-1].min()) > 250  # nothing is cut off
        for panel in panels_of(picture, 3, rows)[0]:
            assert 0.9 < panel.shape[1] / (picture.shape[1] / 3) < 1
            assert len(panel) / panel.shape[1] == pytest.approx(30 / 20, rel=0.04)
        assert len(legend(picture, count - 1)) == count - 1


def test_what_is_no_part_of_the_scan_is_black():
    image = noise()
    image[:, :15] = 0
    image[:, 0] = 1  # so that nothing is left out
    (scan, _), *_ = panels_of(pixels(mid_slices(image, {"a": marked()}, CLASSES, MM, "a scan")), 2)
    assert scan[int(0.55 * len(scan)) : int(0.85 * len(scan)), 3:-3].max() == 0
    assert scan[: int(0.45 * len(scan))].max() == 255


@pytest.mark.slow
def test_rare_classes_keep_their_colours_in_a_walk(tmp_path):
    """A few voxels among many shades of grey and of a class that is everywhere."""
    labels = np.zeros((30, 100, 100), np.uint8)
    labels[0, 45:], labels[0, 70:] = 1, 3
    for value in range(1, 8):
        labels[0, 40:44, 10 * value : 10 * value + 4] = value
    image = np.random.default_rng(0).normal(size=labels.shape).cumsum(1).astype(np.float32)
    names = [f"class {value}" for value in range(8)]
    slice_through(image[:1], {"a": labels[:1]}, names, MM, "a scan", str(tmp_path / "walk.gif"))
    (picture,), still = frames(tmp_path / "walk.gif"), pixels(mid_slices(image, {"a": labels}, names, MM, "a scan"))
    for colour, expected in zip(legend(picture, 7), legend(still, 7), strict=True):
        assert abs(hues(colour) - hues(expected)).max() < 0.1
        assert where(panels_of(picture, 1, rows=1)[0][0], colour)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 9, 25])
def test_any_number_of_classes_has_colours(count):
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 1:26] = np.minimum(np.arange(25), count - 1)[:, None]
    names = [f"class number {place}" for place in range(count)]
    picture = pixels(mid_slices(dark(), {"reference": labels}, names, MM, "a scan"))
    (_, shown), *_ = panels_of(picture, 2)
    found = {tuple(pixel) for pixel in shown[coloured(shown)]}
    assert min(count - 1, 7) <= len(found)
    assert len(found) <= 4 * count  # mixed where two classes meet


@pytest.mark.slow
def test_a_walk_has_a_frame_for_each_slice_from_bottom_to_top(tmp_path):
    labels = np.zeros((5, 30, 20), np.uint8)
    labels[0, :10], labels[2, 10:20], labels[4, 20:] = 1, 2, 3
    maps = {"reference": labels, "unlearned": np.zeros_like(labels)}
    slice_through(noise(labels.shape), maps, CLASSES, MM, "a scan", str(tmp_path / "walk.gif"))
    found = frames(tmp_path / "walk.gif")
    assert len(found) == 5
    colours = legend(found[0], 3)
    for place, frame in enumerate(found):
        ((reference, unlearned),) = panels_of(frame, 2, rows=1)
        shown = [where(reference, colour) is not None for colour in colours]
        assert shown == [place == 0, place == 2, place == 4]
        assert not coloured(unlearned).any()
    ((reference, _),) = panels_of(found[4], 2, rows=1)
    assert where(reference, colours[2]) == pytest.approx((25 / 30, 0.5), abs=0.05)


@pytest.mark.slow
def test_a_long_walk_has_48_frames_from_the_first_slice_to_the_last(tmp_path):
    labels = np.zeros((90, 16, 16), np.uint8)
    labels[0, 4:12], labels[-1, 4:12] = 1, 2
    slice_through(noise(labels.shape), {"map": labels}, CLASSES[:3], MM, "a scan", str(tmp_path / "walk.gif"))
    found = frames(tmp_path / "walk.gif")
    assert len(found) == 48
    first, last = legend(found[0], 2)
    shown = [
        [where(panels_of(frame, 1, rows=1)[0][0], colour) is not None for frame in found] for colour in (first, last)
    ]
    assert shown == [[place == 0 for place in range(48)], [place == 47 for place in range(48)]]
