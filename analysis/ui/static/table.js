// The table of trials: of the front, of a selection in the figure, of the feasible or of all.
import { by, link, number, places, words } from "./study.js";

const MOST = 200;

let order = ["dice_gap", -1];

const CHOICES = {
  front: (study) => places(study).filter((i) => study.columns.on_front[i]),
  feasible: (study) => places(study).filter((i) => study.columns.feasible[i]),
  all: places,
};

// Fills the table; `selected` are the places selected in the figure, `look` hears which row has the focus.
export function drawRows(study, choice, selected, look) {
  const c = study.columns, shown = choice === "selection" ? selected.slice() : CHOICES[choice](study);
  const [key, sign] = order, value = (i) => c[key][i] ?? -Infinity;
  shown.sort((a, b) => sign * (value(a) > value(b) ? 1 : value(a) < value(b) ? -1 : 0));
  const knobs = study.knobs.filter((knob) => shown.some((i) => c[knob][i] !== null));
  const columns = ["id", "strategy", ...knobs, ...study.shown, "epochs_done", "seconds", "status"];
  const again = () => drawRows(study, choice, selected, look);
  by("head").replaceChildren(...columns.map((name) => header(name, key, sign, again)));
  by("body").replaceChildren(...shown.slice(0, MOST).map((i) => row(study, i, columns, look)));
  const more = shown.length > MOST ? `, the first ${MOST} of them` : "";
  by("count").textContent = `${shown.length} of ${c.id.length} trials${more}, by ${words(key)}`;
}

function header(name, key, sign, again) {
  const cell = document.createElement("th"), button = document.createElement("button");
  cell.scope = "col";
  if (name === key) cell.ariaSort = sign > 0 ? "ascending" : "descending";
  button.type = "button";
  button.textContent = words(name) + (name === key ? (sign > 0 ? " ↑" : " ↓") : "");
  button.onclick = () => {
    order = [name, name === key ? -sign : -1];
    again();
    [...by("head").querySelectorAll("button")].find((button) => button.textContent.startsWith(words(name))).focus();
  };
  cell.append(button);
  return cell;
}

function row(study, i, columns, look) {
  const c = study.columns, line = document.createElement("tr");
  line.className = c.id[i] === study.best ? "best" : c.feasible[i] ? "" : "dim";
  for (const event of ["mouseenter", "focusin"]) line.addEventListener(event, () => look(i));
  for (const event of ["mouseleave", "focusout"]) line.addEventListener(event, () => look(null));
  for (const name of columns) {
    const cell = document.createElement(name === "id" ? "th" : "td");
    if (name === "id") {
      const run = document.createElement("a");
      cell.scope = "row";
      run.href = link(study.name, c.id[i]);
      run.textContent = c.id[i];
      cell.append(run);
    } else cell.textContent = number(c[name][i]);
    line.append(cell);
  }
  return line;
}
