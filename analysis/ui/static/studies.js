// The list of studies, kept up to date.
import { by, number } from "./study.js";

const COLUMNS = { name: "study", space: "space", cohort: "cohort", trials: "trials", running: "running", front: "on the front", best_gap: "best Dice gap" };

function cell(tag, text) {
  const made = document.createElement(tag);
  made.textContent = number(text);
  return made;
}

function row(study) {
  const made = document.createElement("tr");
  if (study.problem) {
    made.append(cell("td", study.name));
    const problem = cell("td", study.problem);
    problem.colSpan = Object.keys(COLUMNS).length - 1;
    problem.className = "problem";
    made.append(problem);
    return made;
  }
  for (const name of Object.keys(COLUMNS)) {
    const value = cell("td", name === "name" ? "" : study[name]);
    if (name === "name") {
      const link = document.createElement("a");
      link.href = encodeURIComponent(study.name);
      link.textContent = study.name;
      value.append(link);
    }
    made.append(value);
  }
  return made;
}

async function refresh() {
  const studies = await (await fetch("api/studies")).json();
  by("none").hidden = studies.length > 0;
  const head = document.createElement("tr");
  head.append(...Object.values(COLUMNS).map((title) => cell("th", title)));
  by("studies").replaceChildren(head, ...studies.map(row));
}

refresh();
setInterval(refresh, 5000);
