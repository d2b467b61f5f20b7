// A study as its server tells it, and how its values are written.

export const name = decodeURIComponent(location.pathname.split("/").pop());
export const by = (id) => document.getElementById(id);
export const address = (study, rest = "") => `api/studies/${encodeURIComponent(study)}${rest}`;
export const link = (study, trial) => address(study, `/runs/${encodeURIComponent(trial)}`);

export function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) < 0.01 && value !== 0 ? value.toExponential(1) : value.toFixed(3);
}

export const words = (column) => column.replaceAll("_", " ");
export const places = (study) => [...study.columns.id.keys()];
export const isWord = (value) => typeof value === "string" || typeof value === "boolean";

export function kind(study, i) {
  const c = study.columns;
  if (c.status[i] === "pruned" || c.status[i] === "running" || c.status[i] === "failed") return c.status[i];
  return c.diverged[i] ? "diverged" : c.on_front[i] ? "on the front" : c.feasible[i] ? "feasible" : "infeasible";
}

export function recipe(study, i) {
  return study.knobs.filter((knob) => study.columns[knob][i] !== null).map((knob) => `${words(knob)} ${number(study.columns[knob][i])}`);
}

// The study's newest state, or null if it is the one that `etag` stands for.
export async function fetchStudy(study, etag) {
  const answer = await fetch(address(study), { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
  if (answer.status === 304) return null;
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return { study: await answer.json(), etag: answer.headers.get("etag") };
}
