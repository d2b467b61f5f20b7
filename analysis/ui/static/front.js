"use strict";
// The front of one study: a scatter plot of its trials, kept up to date, and a table of the ones that are chosen in it.

const NAME = decodeURIComponent(location.pathname.split("/").pop());
const KINDS = {
  "on the front": { symbol: "circle", color: "#0072B2", size: 11, opacity: 1 },
  feasible: { symbol: "circle", color: "#56B4E9", size: 9, opacity: 0.9 },
  infeasible: { symbol: "circle-open", color: "#8a8a8a", size: 8, opacity: 0.55 },
  diverged: { symbol: "x-thin-open", color: "#D55E00", size: 9, opacity: 0.7 },
  pruned: { symbol: "triangle-down-open", color: "#8a8a8a", size: 7, opacity: 0.4 },
  running: { symbol: "diamond-open", color: "#E69F00", size: 9, opacity: 0.8 },
};
const LANDMARKS = { baseline: ["square", "#8a8a8a"], retrained: ["diamond", "#009E73"], published: ["star", "#CC79A7"] };
const SHOWN = ["retain_dice", "forget_dice", "dice_gap", "retention", "heldout_dice", "retrain_gap", "epochs_done", "seconds"];
const MOST_ROWS = 200;

let study = null, state = null, chosen = null, order = ["dice_gap", -1];
const webgl = Boolean(document.createElement("canvas").getContext("webgl"));
const by = (id) => document.getElementById(id);
const number = (value) => value === null || value === undefined ? "–" : typeof value !== "number" ? String(value)
  : Number.isInteger(value) ? String(value) : Math.abs(value) < 0.01 && value !== 0 ? value.toExponential(1) : value.toFixed(3);

function kind(i) {
  const c = study.columns;
  if (c.status[i] === "pruned" || c.status[i] === "running") return c.status[i];
  return c.diverged[i] ? "diverged" : c.on_front[i] ? "on the front" : c.feasible[i] ? "feasible" : "infeasible";
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return { ink: read("--ink"), paper: read("--paper"), line: read("--line") };
}

function layout(more) {
  const { ink, paper, line } = colours();
  const axis = { gridcolor: line, zeroline: false, linecolor: line };
  return { font: { color: ink, size: 14 }, paper_bgcolor: paper, plot_bgcolor: paper, margin: { l: 70, r: 20, t: 20, b: 55 },
    hoverlabel: { align: "left" }, legend: { orientation: "h", y: 1.08 }, uirevision: "kept", ...more,
    xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis } };
}

function hover(i) {
  const c = study.columns;
  const knobs = study.knobs.filter((knob) => c[knob][i] !== null).map((knob) => `${knob} = ${number(c[knob][i])}`);
  const metrics = ["retain_dice", "forget_dice", "dice_gap", "retention"].map((name) => `${study.axes[name]} ${number(c[name][i])}`);
  return [`<b>trial ${i + 1}: ${c.id[i]}</b>`, `${c.strategy[i]}, ${kind(i)}`, ...metrics, ...knobs].join("<br>");
}

function points(x, y) {
  const c = study.columns, drawn = [...c.id.keys()].filter((i) => c[x][i] !== null && c[y][i] !== null);
  const big = webgl && drawn.length > 1000 ? "scattergl" : "scatter";
  const trace = (name, places, marker) => ({ type: big, mode: "markers", name: `${name} (${places.length})`, x: places.map((i) => c[x][i]),
    y: places.map((i) => c[y][i]), customdata: places, text: places.map(hover), hoverinfo: "text", marker });
  const colour = by("colour").value;
  if (colour === "kind") {
    return Object.entries(KINDS).map(([name, marker]) => trace(name, drawn.filter((i) => kind(i) === name), marker)).filter((one) => one.x.length);
  }
  const values = drawn.map((i) => c[colour][i]);
  if (values.some((value) => typeof value === "string" || typeof value === "boolean")) {
    return [...new Set(values)].map((value) => trace(`${colour} = ${number(value)}`, drawn.filter((i) => c[colour][i] === value), { size: 9 }));
  }
  const log = values.every((value) => value === null || value > 0) && Math.max(...values) > 50 * Math.min(...values.filter((value) => value !== null));
  return [trace(colour, drawn, { size: 9, color: values.map((value) => log && value !== null ? Math.log10(value) : value), colorscale: "Viridis",
    showscale: true, colorbar: { title: { text: log ? `log10 ${colour}` : colour } } })];
}

function extras(x, y) {
  const made = [], c = study.columns;
  if (x === study.forgetting && y === "retain_dice") {
    const front = [...c.id.keys()].filter((i) => c.on_front[i]).sort((a, b) => c[x][a] - c[x][b]);
    made.push({ mode: "lines", x: front.map((i) => c[x][i]), y: front.map((i) => c[y][i]), line: { shape: "hv", color: "#0072B2", width: 2 },
      hoverinfo: "skip", showlegend: false });
  }
  const marks = { ...study.references, ...(study.published.source ? { published: study.published } : {}) };
  for (const [name, values] of Object.entries(marks)) {
    if (values[x] === undefined || values[y] === undefined || values[x] === null || values[y] === null) continue;
    const [symbol, color] = LANDMARKS[name.split("-")[0]];
    made.push({ mode: "markers", name, x: [values[x]], y: [values[y]], marker: { symbol, color, size: 14 }, hoverinfo: "text",
      text: [`<b>${name}</b><br>${values.source || ""}<br>${study.axes[x]} ${number(values[x])}<br>${study.axes[y]} ${number(values[y])}`] });
  }
  return made;
}

function lines(x, y) {
  const { ink } = colours(), made = [], note = { font: { size: 12, color: ink }, showarrow: false };
  const line = { dash: "dash", color: ink, width: 1.5 }, dotted = { dash: "dot", color: "#009E73", width: 1.5 };
  const heldout = study.references.retrained && study.references.retrained.heldout_dice;
  const shapes = [];
  if (y === "retain_dice" && study.floor !== null) {
    shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: study.floor, y1: study.floor, line });
    made.push({ ...note, xref: "paper", x: 1, xanchor: "right", y: study.floor, yanchor: "top", text: `retain floor ${number(study.floor)}` });
  }
  if (x === "forget_dice" && heldout) {
    shapes.push({ type: "line", yref: "paper", y0: 0, y1: 1, x0: heldout, x1: heldout, line: dotted });
    made.push({ ...note, yref: "paper", y: 0, yanchor: "bottom", x: heldout, xanchor: "left", text: "held-out Dice of the retrained" });
  }
  return { shapes, annotations: made };
}

function drawFront() {
  const x = by("x").value, y = by("y").value;
  const more = { ...lines(x, y), xaxis: { title: { text: study.axes[x] } }, yaxis: { title: { text: study.axes[y] } }, dragmode: "select", uirevision: x + y };
  const options = { responsive: true, displaylogo: false, showSendToCloud: false, modeBarButtonsToAdd: [{ name: "Download as SVG", icon: Plotly.Icons.disk,
    click: (plot) => Plotly.downloadImage(plot, { format: "svg", filename: NAME, width: 1000, height: 700 }) }] };
  return Plotly.react("front", [...points(x, y), ...extras(x, y)], layout(more), options);
}

function drawVolume() {
  const places = study.hypervolume.map((_, i) => i + 1);
  Plotly.react("volume", [{ mode: "lines", x: places, y: study.hypervolume, line: { shape: "hv", color: "#E69F00", width: 2 } }],
    layout({ xaxis: { title: { text: "Trial" } }, yaxis: { title: { text: "Hypervolume" } } }), { responsive: true, displaylogo: false });
}

function drawRecipes() {
  if (!webgl) { by("recipes").textContent = "Parallel coordinates need a browser with WebGL."; return; }
  const c = study.columns, { ink, paper } = colours();
  const finished = [...c.id.keys()].filter((i) => c.status[i] === "finished" && c.dice_gap[i] !== null);
  const knobs = study.knobs.filter((knob) => new Set(finished.map((i) => c[knob][i])).size > 1);
  const dimension = (name) => {
    const values = finished.map((i) => c[name][i]);
    if (values.some((value) => typeof value === "string" || typeof value === "boolean")) {
      const words = [...new Set(values)];
      return { label: name, values: values.map((value) => words.indexOf(value)), tickvals: words.map((_, i) => i), ticktext: words.map(number) };
    }
    return { label: study.axes[name] || name, values };
  };
  Plotly.react("recipes", [{ type: "parcoords", line: { color: finished.map((i) => c.dice_gap[i]), colorscale: "Viridis", showscale: true },
    dimensions: [...knobs, "retain_dice", "forget_dice", "dice_gap"].map(dimension) }],
    { paper_bgcolor: paper, font: { color: ink, size: 12 }, margin: { l: 70, r: 60, t: 50, b: 20 } }, { responsive: true, displaylogo: false });
}

function drawRows() {
  const c = study.columns;
  const places = (chosen || [...c.id.keys()].filter((i) => c.on_front[i])).slice();
  const [key, sign] = order, value = (i) => c[key][i] === null ? -Infinity : c[key][i];
  places.sort((a, b) => sign * (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0));
  const knobs = study.knobs.filter((knob) => places.some((i) => c[knob][i] !== null));
  const columns = ["id", "strategy", ...knobs, ...SHOWN];
  const head = document.createElement("tr");
  for (const name of columns) {
    const button = document.createElement("button");
    button.textContent = name.replaceAll("_", " ") + (name === key ? (sign > 0 ? " ↑" : " ↓") : "");
    button.onclick = () => { order = [name, name === key ? -sign : -1]; drawRows(); };
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.append(button);
    head.append(cell);
  }
  const rows = places.slice(0, MOST_ROWS).map((i) => {
    const row = document.createElement("tr");
    row.className = c.id[i] === study.best ? "best" : c.feasible[i] ? "" : "dim";
    for (const name of columns) {
      const cell = document.createElement("td");
      if (name === "id" && study.run[i]) {
        const link = document.createElement("a");
        link.href = study.run[i];
        link.textContent = c.id[i];
        cell.append(link);
      } else cell.textContent = number(c[name][i]);
      row.append(cell);
    }
    return row;
  });
  by("rows").replaceChildren(head, ...rows);
  const more = places.length > MOST_ROWS ? `, the first ${MOST_ROWS} of them` : "";
  by("chosen").textContent = chosen ? `Chosen: ${places.length} trials${more}` : `Front: ${places.length} of ${c.id.length} trials`;
  by("clear").hidden = chosen === null;
}

function drawHead() {
  const c = study.columns, running = c.status.filter((one) => one === "running").length;
  by("name").textContent = study.name;
  document.title = `${study.name}: Pareto front`;
  by("told").textContent = `${study.space}: ${study.objective} where ${study.constraints.join(" and ")}`;
  by("live").textContent = `${c.id.length} trials` + (running ? `, ${running} running` : "");
  const i = c.id.indexOf(study.best);
  by("best").replaceChildren();
  if (i < 0) { by("best").textContent = "no feasible trial yet"; return; }
  const link = document.createElement("a");
  link.textContent = c.id[i];
  if (study.run[i]) link.href = study.run[i];
  const told = `: Dice gap ${number(c.dice_gap[i])}, retain ${number(c.retain_dice[i])}, forget ${number(c.forget_dice[i])}; weights in front/${c.id[i]}/`;
  by("best").append("best feasible ", link, told);
}

function choices() {
  for (const [id, start] of [["x", study.forgetting], ["y", "retain_dice"]]) {
    by(id).replaceChildren(...Object.entries(study.axes).filter(([name]) => study.columns[name]).map(([name, title]) => new Option(title, name, false, name === start)));
    by(id).onchange = drawFront;
  }
  by("colour").replaceChildren(...["kind", "strategy", ...study.knobs].map((name) => new Option(name.replaceAll("_", " "), name)));
  by("colour").onchange = drawFront;
  by("csv").href = `api/studies/${encodeURIComponent(NAME)}/trials.csv`;
  by("parquet").href = `api/studies/${encodeURIComponent(NAME)}/trials.parquet`;
  by("clear").onclick = () => { chosen = null; Plotly.restyle("front", { selectedpoints: [null] }); drawRows(); };
}

async function refresh() {
  const answer = await fetch(`api/studies/${encodeURIComponent(NAME)}`, { headers: state ? { "If-None-Match": state } : {}, cache: "no-store" });
  if (answer.status === 304 || !answer.ok) return;
  state = answer.headers.get("etag");
  const first = study === null;
  study = await answer.json();
  if (first) choices();
  drawHead();
  await drawFront();
  drawRows();
  if (first) {
    by("front").on("plotly_click", (event) => { const at = event.points[0].customdata; if (study.run[at]) window.open(study.run[at]); });
    by("front").on("plotly_selected", (event) => {
      if (!event) return;
      chosen = event.points.map((point) => point.customdata).filter((at) => at !== undefined);
      drawRows();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawFront(); drawVolume(); drawRecipes(); });
  }
  requestAnimationFrame(() => { drawVolume(); drawRecipes(); });
}

refresh();
setInterval(refresh, 3000);
