// The page of one study: its figures and its table, kept up to date.
import { address, by, fetchFigure, fetchStudy, link, name, number, recipe, words } from "./study.js";
import { drawFront, drawImportance, drawRecipes, drawVolume, ring, save } from "./plots.js";
import { drawRows } from "./table.js";

const PAUSE = 3000;
const plotly = new Promise((resolve) => by("plotly").addEventListener("load", resolve));  // runs after this module, and takes a while

// Figures further down are drawn once somebody comes to see them.
const BELOW = { volume: () => drawVolume(study), recipes: () => drawRecipes(study) };
const seen = new Set();
const coming = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting || seen.has(target.id)) continue;
    seen.add(target.id);
    BELOW[target.id]();
  }
});

let study = null, etag = null, selected = [], others = [], turn = 0;
const first = fetchFigure(name, []);  // beside the study itself
first.catch(() => {});  // whoever awaits it hears of it

const below = () => seen.forEach((id) => BELOW[id]());
const axes = () => [by("x").value, by("y").value];
const rows = () => drawRows(study, by("choice").value, selected, (i) => ring(study, i, ...axes()));

// Draws the front; of several that are asked for at once the last.
async function front() {
  const own = ++turn, choice = [["x", by("x").value], ["y", by("y").value], ["colour", by("colour").value]];
  const figure = own === 1 ? await first : await fetchFigure(name, [...choice, ...others.map((other) => ["beside", other])]);
  if (own === turn) await drawFront(figure, axes().join());
}

function drawHead() {
  const c = study.columns, running = c.status.filter((status) => status === "running").length;
  by("question").textContent = `${study.space}: ${study.objective} where ${study.constraints.join(" and ")}`;
  by("live").textContent = `${c.id.length} trials` + (running ? `, ${running} running` : "");
  const i = c.id.indexOf(study.best);
  by("best").hidden = i < 0;
  by("none").hidden = i >= 0;
  if (i < 0) return;
  by("trial").textContent = study.best;
  by("trial").href = link(name, study.best);
  by("recipe").textContent = `${c.strategy[i]}, ${recipe(study, i).join(", ")}`;
  by("metrics").textContent = ["dice_gap", "retain_dice", "forget_dice", "retention"].map((metric) => `${study.axes[metric]} ${number(c[metric][i])}`).join(" · ");
  by("weights").textContent = `${study.folder}/front/${study.best}/weights.safetensors`;
  const studies = `--studies ${study.folder.slice(0, study.folder.lastIndexOf("/"))}`;
  by("export").textContent = `python -m study.export --study ${name} ${studies} --to unlearned`;
  const { best, closest } = study.picks, lines = (texts) => texts.map((text) => Object.assign(document.createElement("li"), { textContent: text }));
  by("said").replaceChildren(...lines(best.said));
  by("nearest").hidden = !closest;
  by("saidcloser").hidden = !closest;
  if (closest) drawClosest(closest, best, lines, studies);
  by("pictures").hidden = !study.pictures.includes(study.best);
  by("draw").hidden = !by("pictures").hidden;
  by("pictures").href = address(name, `/pictures/${study.best}/index.html`);
  by("drawing").textContent = `python -m study.pictures ${name} ${studies}`;
}

function drawClosest(closest, best, lines, studies) {
  by("closest").textContent = closest.id;
  by("closest").href = link(name, closest.id);
  by("closer").textContent = `python -m study.export --study ${name} ${studies} --pick closest --to unlearned`;
  by("saidcloser").replaceChildren(...lines(closest.id === best.id ? [] : closest.said));
}

async function beside() {
  const listed = await (await fetch("api/studies")).json();
  by("other").append(...listed.map((other) => other.name).filter((other) => other !== name).map((other) => new Option(other, other)));
  by("other").onchange = () => {
    const other = by("other").value;
    others = other ? [...new Set([...others, other])] : [];
    by("other").value = "";
    front();
  };
}

function setUp() {
  by("name").textContent = name;
  document.title = `${name}: Pareto front`;
  for (const [id, start] of [["x", study.forgetting], ["y", "retain_dice"]]) {
    const known = Object.entries(study.axes).filter(([column]) => study.columns[column]);
    by(id).replaceChildren(...known.map(([column, title]) => new Option(title, column, false, column === start)));
    by(id).onchange = front;
  }
  by("colour").replaceChildren(...["kind", "strategy", ...study.knobs].map((column) => new Option(words(column), column)));
  by("colour").onchange = front;
  by("choice").onchange = rows;
  for (const format of ["svg", "png"]) by(format).onclick = () => save(format, name);
  for (const format of ["csv", "parquet"]) by(format).href = address(name, `/trials.${format}`);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { front(); below(); });
}

function listen() {
  by("front").on("plotly_click", (event) => {
    const at = event.points[0].customdata;
    if (at !== undefined) window.open(link(name, study.columns.id[at]));
  });
  by("front").on("plotly_selected", (event) => {
    if (!event) return;
    selected = event.points.map((point) => point.customdata).filter((at) => at !== undefined);
    by("choice").options[by("choice").options.length - 1].disabled = false;
    by("choice").value = "selection";
    rows();
  });
  by("front").on("plotly_deselect", () => { by("choice").value = "front"; rows(); });
}

async function refresh() {
  const newest = await fetchStudy(name, etag);
  if (newest === null) return;
  const begins = study === null;
  await plotly;
  ({ study, etag } = newest);
  if (begins) setUp();
  drawHead();
  await front();
  rows();
  if (begins) {
    listen();
    Object.keys(BELOW).forEach((id) => coming.observe(by(id)));
  }
  below();
  drawImportance(await (await fetch(address(name, "/importance"))).json());
}

async function live() {
  try {
    await refresh();
    by("problem").hidden = true;
  } catch (error) {
    by("problem").hidden = false;
    by("problem").textContent = error instanceof TypeError ? `The server does not answer: ${error.message}` : error.message;
  }
  setTimeout(live, PAUSE);
}

live();
beside();
