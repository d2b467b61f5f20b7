import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import analysis
from analysis.figures.front import front_figure, history_figure
from analysis.reports.page import write_pareto


@pytest.fixture
def page(tmp_path, page_of):
    """Writes the page of a study and reads it back."""
    file = tmp_path / "pages/pareto.html"
    file.parent.mkdir()

    def write(study):
        write_pareto(study, file)
        return page_of(file.read_text(encoding="utf-8"))

    return write


def traces(figure):
    return {trace.name: trace for trace in figure.data}


def points(trace):
    return list(zip(trace.x, trace.y, strict=True))


def test_the_front_figure_draws_every_kind_and_landmark(study, rows):
    drawn = traces(front_figure(study(*rows)))
    assert {
        name: points(trace) for name, trace in drawn.items() if trace.mode == "markers" and "below" not in name
    } == {
        "on the front (3)": [(0.25, 0.75), (0.09, 0.74), (0.6, 0.77)],
        "other feasible (1)": [(0.3, 0.73)],
        "infeasible (1)": [(0.0, 0.05)],
        "diverged (1)": [(0.02, 0.78)],
        "best: dice gap +0.650": [(0.09, 0.74)],
        "baseline": [(0.78, 0.8)],
        "retrained": [(0.65, 0.79)],
        "published": [(0.0613, 0.7576)],
    }
    assert (
        len({(trace.marker.symbol, trace.marker.color) for trace in drawn.values() if trace.mode == "markers"}) == 9
    )
    assert "trial 5: beaten" in drawn["other feasible (1)"].text[0]


def test_the_front_is_a_staircase_of_the_retain_dice_reached_at_each_forget_dice(study, rows):
    line = traces(front_figure(study(*rows)))[None]
    assert points(line) == [(0.09, 0.74), (0.25, 0.75), (0.6, 0.77)]
    assert (line.mode, line.line.shape) == ("lines", "hv")


def test_a_trial_below_the_window_is_an_arrowhead_at_its_edge(study, rows):
    figure = front_figure(study(*rows))
    low, high = figure.layout.yaxis.range
    (below,) = (trace for trace in figure.data if "below" in (trace.name or ""))
    assert below.name == f"retain Dice below {low:.2f} (1)"
    assert below.x == (0.0,)
    assert low < below.y[0] < low + 0.1 * (high - low)
    assert "collapsed" in below.text[0]


def test_the_floor_is_a_dashed_line_where_the_baseline_is_known(study, rows):
    figure = front_figure(study(*rows))
    region, line = figure.layout.shapes
    assert (line.y0, line.y1, line.line.dash) == (pytest.approx(0.72), pytest.approx(0.72), "dash")
    assert region.y1 == pytest.approx(0.72)
    assert "retain floor 0.720 = 0.9 x baseline" in [note.text for note in figure.layout.annotations]
    unknown = front_figure(study(*rows, references={}))
    assert unknown.layout.shapes == ()
    assert not any("floor" in note.text for note in unknown.layout.annotations)


def test_the_title_counts_the_trials_without_a_result(study, rows):
    title = front_figure(study(*rows)).layout.title.text
    assert title.startswith("<b>hippocampus</b>")
    assert "6 trials with a result, 1 running, 1 failed; published: arXiv 2606.16180, Noisy Label, 50 epochs" in title


def test_the_history_shows_gaps_in_order_and_the_best_so_far(study, rows):
    figure = history_figure(study(*rows))
    drawn = traces(figure)
    assert drawn["on the front"].x == (1, 4, 8)
    assert drawn["on the front"].y == pytest.approx((0.5, 0.65, 0.17))
    assert drawn["infeasible"].x == (2,)
    best = drawn["best feasible so far"]
    assert (best.x, best.line.shape) == ((1, 4, 8), "hv")
    assert best.y == pytest.approx((0.5, 0.65, 0.65))
    assert figure.layout.xaxis.range == (0.5, 8.5)


def test_a_study_without_trials_is_drawn(study, page):
    empty = study(references={}, published={})
    assert all(len(trace.x) == 0 for trace in [*front_figure(empty).data, *history_figure(empty).data])
    assert "0 trials with a result" in front_figure(empty).layout.title.text
    assert page(empty).all("title") == ["hippocampus: Pareto front"]


def test_the_page_loads_nothing(study, rows, page):
    written = page(study(*rows))
    tags = [tag for tag, _ in written.tags]
    assert tags.count("div") == 4  # a frame and a graph for each figure
    assert not set(tags) & {"link", "iframe", "img", "base", "object", "embed"}
    assert not [attributes for _, attributes in written.tags if {"src", "href", "srcset"} & set(attributes)]
    assert not [attributes for _, attributes in written.tags if "url(" in (attributes.get("style") or "")]
    assert sum(len(script) > 1_000_000 for script in written.all("script")) == 1  # plotly itself, once
    assert sum('"showSendToCloud": false' in script for script in written.all("script")) == 2


HOSTILE = [
    "</script><script>alert(1)</script>",
    "</ScRiPt ><img src=https://example.org/x onerror=alert(1)>",
    "</title></head><body onload=alert(1)>",
    "<!--<script>",  # in a script, this hides the script's own end
    "a & b < c > d \"e\" 'f'",
]


@pytest.mark.parametrize("name", [HOSTILE[0], *(pytest.param(name, marks=pytest.mark.slow) for name in HOSTILE[1:])])
def test_a_hostile_name_is_text_wherever_it_stands(study, rows, page, name):
    published = {"retain_dice": 0.7576, "forget_dice": 0.0613, "source": name}
    plain, hostile = page(study(*rows)), page(study(*rows, name=name, published=published))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert hostile.all("title") == [f"{name}: Pareto front"]
    scripts = [script for script in hostile.all("script") if len(script) < 1_000_000]
    assert not [script for script in scripts if re.search("<!--|</?script", script, re.IGNORECASE)]
    assert "<" not in front_figure(study(*rows, name=name)).layout.title.text[3:].partition("</b><br><sup>")[0]


def test_a_full_disk_leaves_the_old_page(study, rows, page, tmp_path):
    page(study(name="old"))
    file = tmp_path / "pages/pareto.html"
    before, new, limits = file.read_bytes(), study(*rows), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_pareto(new, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [
        ("analysis.figures.front, analysis.reports.terminal_tables, study.records.front", set()),
        pytest.param("analysis.report, analysis.compare, study.status", {"optuna"}, marks=pytest.mark.slow),
    ],
)
def test_analysis_imports_neither_torch_nor_ray(modules, allowed):
    heavy = {"torch", "ray", "mlflow", "optuna", "monai"} - allowed
    code = f"import {modules}, sys; print(*sorted({heavy} & set(sys.modules)))"
    root = Path(analysis.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("objective", "axis", "best", "history"),
    [
        *(
            (name, "Forget Dice  (lower = more is forgotten)", "best: dice gap +0.650", "Dice gap")
            for name in ("gap", "front", "front_seconds")
        ),
        (
            "retrain",
            "|forget - retrained forget Dice|  (lower = less distinguishable)",
            "best: retrain gap 0.062",
            "Retrain gap",
        ),
        (
            "unseen",
            "|forget - held-out Dice|  (lower = less distinguishable)",
            "best: unseen gap 0.250",
            "Unseen gap",
        ),
    ],
)
def test_axes_and_legend_say_what_was_searched_for(study, rows, objective, axis, best, history):
    distances = {"good": (0.0625, 0.5), "best": (0.5, 0.75), "careful": (0.375, 0.25)}
    for row in rows:
        if row["id"] in distances:
            row["retrain_gap"], row["unseen_gap"] = distances[row["id"]]
    data = study(*rows, settings={"retain_floor": 0.9, "objective": objective})
    figure = front_figure(data)
    assert figure.layout.xaxis.title.text == axis
    assert best in traces(figure)
    (line,) = (trace for trace in figure.data if trace.mode == "lines")
    assert list(line.x) == sorted(line.x)
    searched = history_figure(data)
    assert searched.layout.yaxis.title.text.startswith(history)
    distances = {"retrain": (0.0625, 0.0625), "unseen": (0.5, 0.25, 0.25)}
    values = distances.get(objective, (0.5, 0.65, 0.65))
    assert traces(searched)["best feasible so far"].y == pytest.approx(values)


def test_further_retrained_references_are_drawn_like_the_first(study, rows):
    references = {name: {"retain_dice": 0.8, "forget_dice": 0.5} for name in ("baseline", "retrained", "retrained-1")}
    drawn = traces(front_figure(study(*rows, references=references)))
    assert drawn["retrained-1"].marker.symbol == drawn["retrained"].marker.symbol != drawn["baseline"].marker.symbol


def test_any_two_columns_can_be_the_axes(study, rows):
    figure = front_figure(study(*rows), "seconds", "dice_gap")
    titles = figure.layout.xaxis.title.text, figure.layout.yaxis.title.text
    assert (*titles, figure.layout.shapes) == ("Seconds", "Dice gap", ())
    assert points(traces(figure)["infeasible (1)"]) == [(1234.5, pytest.approx(0.05))]
    assert not any("below" in (trace.name or "") or trace.line.shape == "hv" for trace in figure.data)


def test_unfinished_trials_with_a_result_are_drawn_as_such(study, trial):
    rows = [trial("a", 0.7, 0.2, status="running"), trial("b", 0.6, 0.1, status="pruned"), trial("c", 0.5, 0.1)]
    drawn = traces(front_figure(study(*rows)))
    assert points(drawn["running (1)"]) == [(0.2, 0.7)]
    assert points(drawn["pruned (1)"]) == [(0.1, 0.6)]


def test_a_trial_can_be_traced_back_to_its_place_in_the_table(study, rows):
    places = {
        place: point
        for trace in front_figure(study(*rows)).data
        for place, point in zip(trace.customdata or (), points(trace), strict=False)
    }
    assert places == {i: (row["forget_dice"], row["retain_dice"]) for i, row in enumerate(rows) if i not in (2, 6)}


def test_colours_are_a_scale_of_numbers_in_decades_where_they_span_many(study, trial):
    rows = [trial(str(i), 0.7, 0.2, lr=lr, epochs=5 + i) for i, lr in enumerate((1e-4, 1e-2, None))]
    drawn = traces(front_figure(study(*rows), colour="lr"))
    assert drawn["lr (2)"].marker.color == pytest.approx((-4, -2))
    assert drawn["lr (2)"].marker.colorbar.title.text == "log10 lr"
    assert drawn["no lr (1)"].customdata == (2,)
    epochs = traces(front_figure(study(*rows), colour="epochs"))["epochs (3)"].marker
    assert (epochs.color, epochs.colorbar.title.text) == ((5, 6, 7), "epochs")


def test_words_have_a_colour_each(study, trial):
    rows = [trial("a", 0.7, 0.2, resample=True), trial("b", 0.7, 0.3, resample=False), trial("c", 0.7, 0.4)]
    drawn = traces(front_figure(study(*rows), colour="resample"))
    assert {name: trace.x for name, trace in drawn.items() if name and "resample" in name} == {
        "resample yes (2)": (0.2, 0.4),
        "resample no (1)": (0.3,),
    }


def test_fronts_of_other_studies_are_laid_over_it(study, rows, trial):
    others = [study(trial("x", 0.78, 0.2, feasible=True, on_front=True), name=name) for name in ("first", "<second>")]
    figure = front_figure(study(*rows), beside=others)
    drawn = traces(figure)
    assert points(drawn["front of first"]) == points(drawn["front of &lt;second&gt;"]) == [(0.2, 0.78)]
    assert drawn["front of first"].line.color != drawn["front of &lt;second&gt;"].line.color
    assert figure.layout.title.text.startswith("<b>hippocampus</b> and <b>first</b> and <b>&lt;second&gt;</b>")


def test_the_held_out_dice_of_the_retrained_network_is_a_line(study, rows):
    references = {"retrained": {"retain_dice": 0.8, "forget_dice": 0.6, "heldout_dice": 0.5}}
    (line,) = front_figure(study(*rows, references=references)).layout.shapes
    assert (line.x0, line.x1, line.line.dash, line.opacity) == (0.5, 0.5, "dot", 1)
    assert front_figure(study(*rows, references=references), x="seconds").layout.shapes == ()
