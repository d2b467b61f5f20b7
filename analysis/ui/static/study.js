// A study as its server describes it, and how its values are written.

export const name = decodeURIComponent(location.pathname.split("/").pop());
export const by = (id) => document.getElementById(id);
export const address = (study, rest = "") => `api/studies/${encodeURIComponent(study)}${rest}`;
export const link = (study, trial) => address(study, `/runs/${encodeURIComponent(trial)}`);

export function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) < 0.01 && value !== 0 ? value.toExponential(1).replace(/e([-+])(\d)$/, "e$10$2") : value.toFixed(3);
}

export const words = (column) => column.replaceAll("_", " ");
export const places = (study) => [...study.columns.id.keys()];
export const isWord = (value) => typeof value === "string" || typeof value === "boolean";

export function recipe(study, i) {
  return study.knobs.filter((knob) => study.columns[knob][i] !== null).map((knob) => `${words(knob)} ${number(study.columns[knob][i])}`);
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok && answer.status !== 304) throw new Error((await answer.json()).detail);
  return answer;
}

// The study's newest state, or null if it is the one that `etag` stands for.
export async function fetchStudy(study, etag) {
  const answer = await ask(address(study), { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
  return answer.status === 304 ? null : { study: await answer.json(), etag: answer.headers.get("etag") };
}

// The figure of the study's front; `choice` holds axes, colour and the studies beside it.
export async function fetchFigure(study, choice) {
  return (await ask(address(study, `/figure?${new URLSearchParams(choice)}`))).json();
}
