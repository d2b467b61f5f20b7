import numpy as np
import pytest

from analysis.figures.curves import bands, curves_figure

LENGTHS = {"a": 5, "b": 3, "c": 5, "d": 1, "other": 6}


@pytest.fixture
def curves(study, trial):
    """Five trials of different lengths, one of another strategy, one without an epoch, and a reference."""
    rng = np.random.default_rng(0)
    values = {
        (id, epoch): dict(zip(("retain_dice", "forget_dice"), map(float, rng.random(2)), strict=True))
        for id, length in {**LENGTHS, "baseline": 9}.items()
        for epoch in range(1, length + 1)
    }
    values["c", 2]["forget_dice"] = float("nan")
    strategies = {"other": "max_loss", "none": "scrub"}
    rows = [
        trial(id, status="running", strategy=strategies.get(id, "noisy_label")) for id in (*LENGTHS, "none", "late")
    ]
    history = [{"id": id, "epoch": epoch, **metrics} for (id, epoch), metrics in values.items()]
    rng.shuffle(history)
    return study(*rows, history=history), values


@pytest.mark.parametrize("metric", ["retain_dice", "forget_dice"])
def test_bands_are_quantiles_of_the_trials_that_got_as_far(curves, metric):
    data, values = curves
    found = bands(data, "noisy_label", metric)
    assert found["epoch"].tolist() == [1, 2, 3, 4, 5]
    for row in found.to_dict("records"):
        known = [values[id, row["epoch"]][metric] for id in "abcd" if (id, row["epoch"]) in values]
        known = [value for value in known if value == value]
        assert row["trials"] == len(known)
        low, median, high = (float(np.quantile(known, share)) for share in (0.1, 0.5, 0.9))
        assert (row["low"], row["median"], row["high"]) == pytest.approx((low, median, high))
    assert found["trials"].tolist() == [4, 2 if metric == "forget_dice" else 3, 3, 2, 2]


def test_one_trial_is_its_own_band(curves):
    data, values = curves
    found = bands(data, "max_loss", "retain_dice")
    expected = [values["other", epoch]["retain_dice"] for epoch in range(1, 7)]
    for name in ("low", "median", "high"):
        assert found[name].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("strategy", ["scrub", "unknown"])
def test_without_an_epoch_there_is_an_empty_band_and_figure(curves, strategy):
    found = bands(curves[0], strategy, "retain_dice")
    assert (list(found), len(found)) == (["epoch", "low", "median", "high", "trials"], 0)
    assert all(len(trace.x) == 0 for trace in curves_figure(curves[0], strategy, ["none"]).data)


def test_the_figure_goes_along_the_upper_edge_and_back_along_the_lower(curves):
    data, values = curves
    figure = curves_figure(data, "noisy_label", ["b"])
    areas = [trace for trace in figure.data if trace.fill == "toself"]
    for area, metric in zip(areas, ("retain_dice", "forget_dice"), strict=True):
        found = bands(data, "noisy_label", metric)
        assert list(area.x) == [1, 2, 3, 4, 5, 5, 4, 3, 2, 1]
        assert list(area.y[:5]) == found["high"].tolist()
        assert list(area.y[:4:-1]) == found["low"].tolist()
    lines = {trace.name: list(zip(trace.x, trace.y, strict=True)) for trace in figure.data if trace.name}
    assert lines["forget Dice of b"] == [(epoch, values["b", epoch]["forget_dice"]) for epoch in (1, 2, 3)]
    assert [epoch for epoch, _ in lines["retain Dice"]] == [1, 2, 3, 4, 5]
    assert lines.keys() == {"retain Dice", "forget Dice", "retain Dice of b", "forget Dice of b"}
