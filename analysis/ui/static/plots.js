// The figures of one study.
import { by, isWord, number, places, words } from "./study.js";

const OPTIONS = { responsive: true, displaylogo: false, showSendToCloud: false };
const MANY = 1000;

const webgl = Boolean(document.createElement("canvas").getContext("webgl"));

let base = [];  // the lines of the front's figure

function colours() {
  const style = getComputedStyle(document.documentElement), read = (name) => style.getPropertyValue(name).trim();
  return { ink: read("--ink"), paper: read("--paper"), line: read("--line") };
}

function layout(more) {
  const { ink, paper, line } = colours();
  const axis = { gridcolor: line, zeroline: false, linecolor: line, tickcolor: line, automargin: true };
  return { font: { color: ink, size: 14 }, paper_bgcolor: paper, plot_bgcolor: paper, margin: { l: 70, r: 20, t: 20, b: 55 },
    hoverlabel: { align: "left" }, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, uirevision: "kept", ...more,
    xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis } };
}

// Shows the front as the server has drawn it, in the colours of the page.
export function drawFront(figure, view) {
  const type = webgl && figure.data.reduce((count, trace) => count + trace.x.length, 0) > MANY ? "scattergl" : "scatter";
  const { xaxis, yaxis, shapes = [], annotations = [], template } = figure.layout, page = layout({ template });
  base = shapes;
  return Plotly.react("front", figure.data.map((trace) => ({ ...trace, type })), { ...page, shapes, annotations, dragmode: "select",
    uirevision: view, xaxis: { ...xaxis, ...page.xaxis }, yaxis: { ...yaxis, ...page.yaxis } }, OPTIONS);
}

// Rings one trial in the front's figure; none without a place.
export function ring(study, i, x, y) {
  const { ink } = colours(), c = study.columns;
  const centre = i === null || c[x][i] === null || c[y][i] === null ? [] : [{ type: "circle", xsizemode: "pixel", ysizemode: "pixel",
    xanchor: c[x][i], yanchor: c[y][i], x0: -11, x1: 11, y0: -11, y1: 11, line: { color: ink, width: 2 } }];
  Plotly.relayout("front", { shapes: [...base, ...centre] });
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
