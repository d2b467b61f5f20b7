"""The pages in a real browser, on the real server: what a user sees and does."""

import io
import json
import re
from itertools import count

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import distribution_to_json
from playwright.sync_api import expect

from search_spaces.noisy_label import SPACE

pytestmark = pytest.mark.browser
numbers = count()


@pytest.fixture
def study(server, write_study):
    """Writes a study of its own into the server's folder; returns its name and a function that adds rows."""
    name = f"study-{next(numbers)}"

    def write(*rows, **changes):
        write_study(server.studies / name, rows, name=name, **changes)

    return name, write


@pytest.fixture
def front(page, server, study, rows):
    """The page of a study with a trial of every kind, drawn."""
    name, write = study
    write(*rows)
    page.goto(f"{server.address}/lethe/{name}")
    expect(page.locator("#front .scatterlayer")).to_be_attached()
    expect(page.locator("#count")).to_contain_text("3 of 8 trials")
    return page


def ids(page):
    return page.locator("#body th").all_text_contents()


def pixel(page, forget, retain):
    """Where a point of the figure's plane is on the screen."""
    box = page.locator("#front").bounding_box()
    x, y = page.evaluate(
        """([x, y]) => { const l = document.getElementById("front")._fullLayout;
            return [l.xaxis.l2p(x) + l.xaxis._offset, l.yaxis.l2p(y) + l.yaxis._offset]; }""",
        [forget, retain],
    )
    return box["x"] + x, box["y"] + y


def drag(page, start, end):
    page.mouse.move(*pixel(page, *start))
    page.mouse.down()
    page.mouse.move(*pixel(page, *end), steps=6)
    page.mouse.up()


@pytest.mark.slow
def test_from_the_list_to_the_best_recipe_and_its_weights_in_one_click(page, server, study, rows):
    name, write = study
    write(*rows)
    page.goto(f"{server.address}/lethe/")
    page.get_by_role("link", name=name, exact=True).click()
    best = page.get_by_role("region", name="Best feasible trial")
    expect(best).to_contain_text("best")
    expect(best).to_contain_text("noise rate 0.813")
    expect(best).to_contain_text("Dice gap 0.650")
    expect(best).to_contain_text(f"{server.studies / name}/front/best/weights.safetensors")
    expect(best).to_contain_text(f"python -m study.export --study {name} --studies {server.studies} --to")
    expect(best).to_contain_text(f"python -m study.pictures {name} --studies {server.studies}")


@pytest.mark.slow
def test_the_figure_has_trials_by_kind_front_landmarks_and_floor_and_labels(front):
    drawn = front.evaluate("document.getElementById('front').data.map((one) => [one.name, one.x.length])")
    kinds = {"on the front (3)": 3, "other feasible (1)": 1, "infeasible (1)": 1, "diverged (1)": 1}
    assert kinds.items() <= dict(drawn).items()
    assert {"baseline", "retrained", "published"} <= {name for name, _ in drawn}
    staircase = front.evaluate("document.getElementById('front').data.find((one) => one.line?.shape === 'hv')")
    assert list(zip(staircase["x"], staircase["y"], strict=True)) == [(0.09, 0.74), (0.25, 0.75), (0.6, 0.77)]
    notes = front.evaluate("document.getElementById('front').layout.annotations.map((one) => one.text)")
    assert "retain floor 0.720 = 0.9 x baseline" in notes
    front.mouse.move(*pixel(front, 0.09, 0.74))
    expect(front.locator("#front .hoverlayer")).to_contain_text("noise rate 0.812")


@pytest.mark.slow
def test_new_trials_appear_without_a_reload(front, study, trial):
    front.evaluate("window.kept = true")
    study[1](trial("late", 0.76, 0.05, feasible=True, on_front=True))
    expect(front.locator("#count")).to_contain_text("4 of 9 trials")
    expect(front.locator("#body")).to_contain_text("late")
    expect(front.get_by_role("region", name="Best feasible trial")).to_contain_text("late")
    assert front.evaluate("window.kept")


@pytest.mark.slow
def test_a_brush_fills_the_table_with_exactly_what_it_covers(front):
    drag(front, (0.02, 0.76), (0.35, 0.725))
    front.wait_for_function("document.getElementById('choice').value === 'selection'")
    expect(front.locator("#count")).to_contain_text("3 of 8 trials")
    assert sorted(ids(front)) == ["beaten", "best", "good"]
    front.locator("#choice").select_option("front")
    assert sorted(ids(front)) == ["best", "careful", "good"]


@pytest.mark.slow
def test_a_point_leads_to_its_run_in_the_stock_pages(front, server, study):
    experiment = server.store.create_experiment(f"experiment of {study[0]}")
    tags = {"study": study[0], "name": "best"}
    run = server.store.create_run(experiment, tags=tags, run_name="noisy_label lr=1.2e-04")
    with front.context.expect_page() as opened:
        front.mouse.click(*pixel(front, 0.09, 0.74))
    stock = opened.value
    expect(stock).to_have_url(re.compile(rf"/#/experiments/{experiment}/runs/{run.info.run_id}"))
    expect(stock.get_by_text("noisy_label lr=1.2e-04").first).to_be_visible()


@pytest.mark.slow
def test_figure_and_table_can_be_taken_away(front, rows):
    for kind, start in (("svg", b"<svg"), ("png", b"\x89PNG")):
        with front.expect_download() as download:
            front.locator(f"#{kind}").click()
        content = download.value.path().read_bytes()
        assert content.startswith(start)
        assert len(content) > 5000
    with front.expect_download() as download:
        front.get_by_role("link", name="CSV").click()
    assert list(pd.read_csv(io.BytesIO(download.value.path().read_bytes())).id) == [row["id"] for row in rows]


@pytest.mark.slow
def test_axes_and_colour_can_be_chosen(front):
    front.get_by_label("across").select_option("seconds")
    front.get_by_label("up").select_option("dice_gap")
    front.get_by_label("colour").select_option("lr")
    front.wait_for_function("document.getElementById('front').data[0].marker.showscale")
    layout, data = (front.evaluate(f"document.getElementById('front').{part}") for part in ("layout", "data"))
    assert (layout["xaxis"]["title"]["text"], layout["yaxis"]["title"]["text"]) == ("Seconds", "Dice gap")
    assert data[0]["marker"]["color"] == [pytest.approx(1.2e-4)] * len(data[0]["x"])
    assert not layout["shapes"]
    assert layout["annotations"] == []


@pytest.mark.slow
def test_another_study_is_laid_over_it(front, server, trial, write_study):
    other = f"study-{next(numbers)}"
    point = trial("there", 0.78, 0.2, feasible=True, on_front=True)
    write_study(server.studies / other, [point], name=other)
    front.reload()
    front.get_by_label("beside").select_option(other)
    expect(front.locator("#front .legend")).to_contain_text(f"front of {other}")
    drawn = front.evaluate("document.getElementById('front').data.find((one) => one.name?.startsWith('front of'))")
    assert (drawn["x"], drawn["y"]) == ([0.2], [0.78])


@pytest.mark.slow
def test_everything_can_be_reached_by_the_keyboard(front):
    front.keyboard.press("Tab")
    expect(front.get_by_role("link", name="to the table of trials")).to_be_focused()
    front.get_by_label("show").focus()
    front.get_by_label("show").press("End")
    front.get_by_label("show").select_option("all")
    expect(front.locator("#count")).to_contain_text("8 of 8 trials")
    front.get_by_role("button", name="forget dice").press("Enter")
    column = front.get_by_role("columnheader", name="forget dice")
    expect(column).to_have_attribute("aria-sort", "descending")
    expect(front.get_by_role("button", name="forget dice")).to_be_focused()
    shown = [
        float(text) for text in front.locator("#body tr td:nth-child(8)").all_text_contents() if text[-1].isdecimal()
    ]
    assert shown == sorted(shown, reverse=True)
    front.get_by_role("link", name="best", exact=True).last.focus()
    rings = "document.getElementById('front').layout.shapes.filter((one) => one.type === 'circle')"
    front.wait_for_function(f"{rings}.length === 1")
    ring = front.evaluate(f"{rings}[0]")
    assert (ring["xanchor"], ring["yanchor"]) == (0.09, 0.74)


@pytest.mark.slow
def test_it_is_dark_where_the_reader_wants_it_dark(front):
    def brightness():
        colour = front.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    light = brightness()
    front.emulate_media(color_scheme="dark")
    front.wait_for_function("document.getElementById('front').layout.paper_bgcolor === '#17191c'")
    drawn = front.evaluate("getComputedStyle(document.querySelector('#front .g-xtitle text')).fill")
    assert drawn == "rgb(230, 230, 230)"  # the page's ink
    assert brightness() < 150 < 700 < light


@pytest.mark.slow
def test_a_narrow_window_needs_no_sideways_scrolling(front):
    front.set_viewport_size({"width": 390, "height": 800})
    front.wait_for_timeout(500)
    assert front.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_importance_needs_trials_and_then_names_what_decides(page, server, study, trial):
    name, write = study
    rng = np.random.default_rng(0)
    domains = {knob: json.loads(distribution_to_json(domain)) for knob, domain in SPACE.domains.items()}
    rows = []
    for place in range(40):
        rate, lr = float(rng.uniform(0.6, 1)), float(10 ** rng.uniform(-4, -2.6))
        row = trial(f"t{place}", 0.8, 1 - rate, feasible=True, noise_rate=rate, lr=lr)
        rows.append(row | {"epochs": int(rng.integers(5, 21))})
    write(*rows, domains={knob: domains[knob] for knob in ("noise_rate", "lr", "epochs")})
    page.goto(f"{server.address}/lethe/{name}")
    expect(page.locator("#importance .barlayer")).to_be_attached()
    bars = page.evaluate("(({x, y}) => [x, y])(document.getElementById('importance').data[0])")
    shares = dict(zip(bars[1], bars[0], strict=True))
    assert max(shares, key=shares.get) == "noise rate"


@pytest.mark.slow
def test_what_stands_below_is_drawn_when_it_comes_into_sight(front):
    expect(front.locator("#volume .scatterlayer")).not_to_be_attached()
    front.get_by_role("img", name="Parallel coordinates").scroll_into_view_if_needed()
    expect(front.locator("#volume .scatterlayer .trace")).to_be_attached()
    expect(front.locator("#recipes .parcoords")).to_be_attached()
    volumes = front.evaluate("document.getElementById('volume').data[0].y")
    assert volumes[-1] == pytest.approx(0.77 * 0.4 + 0.75 * 0.35 + 0.74 * 0.16)  # by hand: front (0.6, 0.77), ...


@pytest.mark.slow
def test_five_thousand_trials_are_drawn_and_answer_to_the_pointer(page, server, study, trial):
    name, write = study
    rng = np.random.default_rng(1)
    retain, forget = rng.uniform(0.3, 0.8, 5000), rng.uniform(0, 0.9, 5000)
    points = enumerate(zip(retain.tolist(), forget.tolist(), strict=True))
    write(*(trial(f"t{i}", kept, gone, feasible=kept > 0.72) for i, (kept, gone) in points))
    page.goto(f"{server.address}/lethe/{name}")
    expect(page.locator("#live")).to_contain_text("5000 trials")
    traces = "document.getElementById('front').data.filter((one) => one.customdata)"
    drawn = page.evaluate(f"{traces}.map((one) => [one.type, one.x.length])")
    assert {kind for kind, _ in drawn} == {"scattergl"}
    assert sum(length for _, length in drawn) == 5000
    place = int(np.argmax(retain))
    page.mouse.move(*pixel(page, forget[place], retain[place]))
    expect(page.locator("#front .hoverlayer")).to_contain_text("trial ")
    drag(page, (0.1, 0.78), (0.3, 0.74))
    page.wait_for_function("document.getElementById('choice').value === 'selection'")
    brushed = int(re.match(r"(\d+) of 5000", page.locator("#count").text_content()).group(1))
    least, most = (
        ((forget > 0.1 + by) & (forget < 0.3 - by) & (retain > 0.74 + by) & (retain < 0.78 - by)).sum()
        for by in (0.002, -0.002)  # half a pixel
    )
    assert least <= brushed <= most


@pytest.mark.slow
def test_a_server_that_is_gone_is_told_of(front):
    front.context.set_offline(True)
    expect(front.get_by_role("alert")).to_contain_text("does not answer")
    front.context.set_offline(False)
    expect(front.get_by_role("alert")).to_be_hidden()
