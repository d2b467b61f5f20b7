// The figures of one study, and the fronts of others beside its own.
import { by, isWord, kind, number, places, recipe, words } from "./study.js";

// From the bottom to the top.
const KINDS = {
  pruned: { symbol: "triangle-down-open", color: "#8a8a8a", size: 7, opacity: 0.4 },
  infeasible: { symbol: "circle-open", color: "#8a8a8a", size: 8, opacity: 0.55 },
  diverged: { symbol: "x-thin-open", color: "#D55E00", size: 9, opacity: 0.7 },
  running: { symbol: "diamond-open", color: "#E69F00", size: 9, opacity: 0.8 },
  feasible: { symbol: "circle", color: "#56B4E9", size: 9, opacity: 0.9 },
  "on the front": { symbol: "circle", color: "#0072B2", size: 11, opacity: 1 },
};
const LANDMARKS = { baseline: ["square", "#8a8a8a"], retrained: ["diamond", "#009E73"], published: ["star", "#CC79A7"] };
const OTHERS = ["#D55E00", "#009E73", "#CC79A7", "#E69F00", "#8a8a8a"];
const OPTIONS = { responsive: true, displaylogo: false, showSendToCloud: false };
const MANY = 1000;

const webgl = Boolean(document.createElement("canvas").getContext("webgl"));

function colours() {
  const style = getComputedStyle(document.documentElement), read = (name) => style.getPropertyValue(name).trim();
  return { ink: read("--ink"), paper: read("--paper"), line: read("--line") };
}

function layout(more) {
  const { ink, paper, line } = colours();
  const axis = { gridcolor: line, zeroline: false, linecolor: line, automargin: true };
  return { font: { color: ink, size: 14 }, paper_bgcolor: paper, plot_bgcolor: paper, margin: { l: 70, r: 20, t: 20, b: 55 },
    hoverlabel: { align: "left" }, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, uirevision: "kept", ...more,
    xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis } };
}

function hover(study, i) {
  const c = study.columns;
  const metrics = ["retain_dice", "forget_dice", "dice_gap", "retention"].map((one) => `${study.axes[one]} ${number(c[one][i])}`);
  return [`<b>trial ${i + 1}: ${c.id[i]}</b>`, `${c.strategy[i]}, ${kind(study, i)}`, ...metrics, ...recipe(study, i)].join("<br>");
}

function points(study, x, y, colour, type) {
  const c = study.columns, drawn = places(study).filter((i) => c[x][i] !== null && c[y][i] !== null);
  const trace = (name, some, marker) => ({ type, mode: "markers", name: `${name} (${some.length})`, x: some.map((i) => c[x][i]),
    y: some.map((i) => c[y][i]), customdata: some, text: some.map((i) => hover(study, i)), hoverinfo: "text", marker });
  if (colour === "kind") {
    return Object.entries(KINDS).map(([name, marker]) => trace(name, drawn.filter((i) => kind(study, i) === name), marker)).filter((one) => one.x.length);
  }
  const values = drawn.map((i) => c[colour][i]), known = values.filter((value) => value !== null);
  if (known.some(isWord)) {
    return [...new Set(values)].map((value) => trace(`${words(colour)} ${number(value)}`, drawn.filter((i) => c[colour][i] === value), { size: 9 }));
  }
  const log = known.every((value) => value > 0) && Math.max(...known) > 50 * Math.min(...known);
  const title = { text: log ? `log10 ${words(colour)}` : words(colour) };
  return [trace(words(colour), drawn, { size: 9, color: values.map((value) => log && value !== null ? Math.log10(value) : value),
    colorscale: "Viridis", showscale: true, colorbar: { title } })];
}

function staircase(study, x, y, color, type, name) {
  if (x !== study.forgetting || y !== "retain_dice") return [];
  const c = study.columns, front = places(study).filter((i) => c.on_front[i]).sort((a, b) => c[x][a] - c[x][b] || c[y][a] - c[y][b]);
  return [{ type, mode: name ? "lines+markers" : "lines", name, showlegend: Boolean(name), x: front.map((i) => c[x][i]), y: front.map((i) => c[y][i]),
    line: { shape: "hv", color, width: 2 }, marker: { color, size: 9 }, hoverinfo: name ? "text" : "skip", text: front.map((i) => `${name}<br>${hover(study, i)}`) }];
}

function landmarks(study, x, y, type) {
  const marks = { ...study.references, ...(study.published.source ? { published: study.published } : {}) };
  return Object.entries(marks).filter(([, values]) => Number.isFinite(values[x]) && Number.isFinite(values[y])).map(([name, values]) => {
    const [symbol, color] = LANDMARKS[name.split("-")[0]];
    const text = [`<b>${name}</b>`, values.source || "", `${study.axes[x]} ${number(values[x])}`, `${study.axes[y]} ${number(values[y])}`];
    return { type, mode: "markers", name, x: [values[x]], y: [values[y]], marker: { symbol, color, size: 14 }, hoverinfo: "text", text: [text.filter(Boolean).join("<br>")] };
  });
}

function bestRing(study, x, y, type) {
  const c = study.columns, i = c.id.indexOf(study.best);
  if (i < 0 || c[x][i] === null || c[y][i] === null) return [];
  return [{ type, mode: "markers", name: "best feasible", x: [c[x][i]], y: [c[y][i]], hoverinfo: "skip",
    marker: { symbol: "circle-open", size: 19, color: "#E69F00", line: { width: 3 } } }];
}

function lines(study, x, y) {
  const { ink } = colours(), note = { font: { size: 12, color: ink }, showarrow: false }, shapes = [], annotations = [];
  const heldout = study.references.retrained && study.references.retrained.heldout_dice;
  if (y === "retain_dice" && study.floor !== null) {
    shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: study.floor, y1: study.floor, line: { dash: "dash", color: ink, width: 1.5 } });
    annotations.push({ ...note, xref: "paper", x: 1, xanchor: "right", y: study.floor, yanchor: "top", text: `retain floor ${number(study.floor)}` });
  }
  if (x === "forget_dice" && Number.isFinite(heldout)) {
    shapes.push({ type: "line", yref: "paper", y0: 0, y1: 1, x0: heldout, x1: heldout, line: { dash: "dot", color: "#009E73", width: 1.5 } });
    annotations.push({ ...note, yref: "paper", y: 0, yanchor: "bottom", x: heldout, xanchor: "left", text: "held-out Dice of the retrained" });
  }
  return { shapes, annotations };
}

// Shows the trials of `study`, a point each, and the fronts of the other studies as lines.
export function drawFront(study, others, x, y, colour) {
  const type = webgl && study.columns.id.length > MANY ? "scattergl" : "scatter";
  const marks = [...landmarks(study, x, y, type), ...staircase(study, x, y, "#0072B2", type), ...bestRing(study, x, y, type)];
  const beside = others.flatMap((other, i) => staircase(other, x, y, OTHERS[i % OTHERS.length], type, `front of ${other.name}`));
  const more = { ...lines(study, x, y), xaxis: { title: { text: study.axes[x] } }, yaxis: { title: { text: study.axes[y] } }, dragmode: "select", uirevision: x + y };
  return Plotly.react("front", [...points(study, x, y, colour, type), ...beside, ...marks], layout(more), OPTIONS);
}

// Rings one trial in the front's figure; none without a place.
export function ring(study, i, x, y) {
  const { ink } = colours(), c = study.columns, shapes = lines(study, x, y).shapes;
  const centre = i === null || c[x][i] === null || c[y][i] === null ? [] : [{ type: "circle", xsizemode: "pixel", ysizemode: "pixel",
    xanchor: c[x][i], yanchor: c[y][i], x0: -11, x1: 11, y0: -11, y1: 11, line: { color: ink, width: 2 } }];
  Plotly.relayout("front", { shapes: [...shapes, ...centre] });
}

export function save(format, name) {
  return Plotly.downloadImage("front", { format, filename: name, width: 1000, height: 700 });
}

export function drawVolume(study) {
  Plotly.react("volume", [{ mode: "lines", x: study.hypervolume.map((_, i) => i + 1), y: study.hypervolume, line: { shape: "hv", color: "#E69F00", width: 2 } }],
    layout({ xaxis: { title: { text: "Trial" } }, yaxis: { title: { text: "Hypervolume" } } }), OPTIONS);
}

export function drawImportance(shares) {
  const knobs = Object.keys(shares).reverse();
  by("importance").hidden = knobs.length === 0;
  by("unimportant").hidden = knobs.length > 0;
  if (knobs.length) {
    Plotly.react("importance", [{ type: "bar", orientation: "h", y: knobs.map(words), x: knobs.map((knob) => shares[knob]), marker: { color: "#0072B2" } }],
      layout({ xaxis: { title: { text: "Share of what tells the best tenth from the others" }, range: [0, 1] } }), OPTIONS);
  }
}

export function drawRecipes(study) {
  if (!webgl) { by("recipes").textContent = "Parallel coordinates need a browser with WebGL; the table holds the same."; return; }
  const c = study.columns, { ink, paper } = colours();
  const finished = places(study).filter((i) => c.status[i] === "finished" && c.dice_gap[i] !== null);
  const knobs = study.knobs.filter((knob) => new Set(finished.map((i) => c[knob][i])).size > 1);
  const dimension = (name) => {
    const values = finished.map((i) => c[name][i]), label = study.axes[name] || words(name);
    if (!values.some(isWord)) return { label, values };
    const distinct = [...new Set(values)];
    return { label, values: values.map((value) => distinct.indexOf(value)), tickvals: distinct.map((_, i) => i), ticktext: distinct.map(number) };
  };
  Plotly.react("recipes", [{ type: "parcoords", line: { color: finished.map((i) => c.dice_gap[i]), colorscale: "Viridis", showscale: true },
    dimensions: [...knobs, "retain_dice", "forget_dice", "dice_gap"].map(dimension) }],
    { paper_bgcolor: paper, font: { color: ink, size: 12 }, margin: { l: 70, r: 60, t: 50, b: 20 } }, OPTIONS);
}
