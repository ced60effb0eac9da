// The page of the owner: asks for the state of the study every few seconds and writes it down.
const base = location.pathname.replace(/\/+$/, "");
const get = (id) => document.getElementById(id);
const count = (n) => n.toLocaleString("en");
const fixed = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));
const interval = ({ low, high }) => (low === null || low === undefined ? "" : `${fixed(low)} to ${fixed(high)}`);
const ratio = (pair) => (pair && pair[1] ? `${pair[0]} of ${pair[1]}` : "–");
const day = (text, options = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }) =>
  text ? new Intl.DateTimeFormat("en-GB", options).format(new Date(text)) : "–";

function element(tag, content, attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...[content].flat());
  return made;
}

function bar(value, most) {
  const made = element("progress", [], { value, max: Math.max(1, most) });
  made.setAttribute("aria-hidden", "true");
  return made;
}

// A row of a table: the first cell is its heading, numbers stand to the right.
function row([first, ...cells]) {
  const number = (cell) => (typeof cell === "string" && /^[–\d]/.test(cell) ? "number" : "");
  return element("tr", [element("th", first, { scope: "row" }), ...cells.map((cell) => element("td", cell, { className: number(cell) }))]);
}

function card(term, value, beside) {
  return element("div", [element("dt", term), element("dd", [element("b", value), ...(beside ? [" ", element("span", beside)] : [])])]);
}

function numbers(state) {
  const last = state.curve?.at(-1);
  const began = state.people.filter((person) => person.done > 0).length;
  const finished = state.people.filter((person) => person.finished).length;
  const score = (term, of, more) => of && card(term, fixed(of.value), [interval(of), more].filter(Boolean).join(", "));
  get("numbers").replaceChildren(...[
    card("Answers", count(state.answers), state.cannot_tell ? `and ${count(state.cannot_tell)} × can’t tell` : ""),
    card("People", count(began), `began, ${count(finished)} finished`),
    score("Agreement with people", last),
    score("Ceiling: people with each other", state.ceiling),
    score("Same answer when asked again", state.reliability, state.reliability?.n && `of ${count(state.reliability.n)}`),
    state.catch?.[1] && card("Catch trials right", fixed(state.catch[0] / state.catch[1]), `of ${count(state.catch[1])}`),
    score("Neighbours kept", state.neighbours),
  ].filter(Boolean));
}

function verdict(state) {
  const fit = state.fit ?? {};
  const [last, sentence] = [state.curve?.at(-1), state.projection?.sentence];
  get("verdict").textContent = last
    ? `A fit agrees with people on ${fixed(last.value)} of new answers${sentence ? `: ${sentence}` : ""}.`
    : "Not known yet: a fit tells how well answers are predicted, and how many more it would take.";
  const running = fit.state === "running";
  get("fit").setAttribute("aria-disabled", String(running || !state.answers));
  get("fit").textContent = running ? "Fitting …" : fit.state === "done" ? "Fit again" : "Fit now";
  const said = {
    running: `A fit is running${fit.began ? ` since ${day(fit.began)}` : ""}. People are asked on meanwhile.`,
    done: `Last fit: ${day(fit.at)}, of ${count(fit.answers ?? 0)} answers, in ${Math.max(1, Math.round(fit.seconds ?? 0))} s. ${(fit.warnings ?? []).join(" ")}`,
    failed: `The last fit has failed: ${fit.message ?? "it gave no reason."}`,
  };
  const words = said[fit.state] ?? (state.answers ? "No fit yet." : "No fit yet: there are no answers.");
  if (get("fitted").textContent !== words) get("fitted").textContent = words;
  for (const name of ["report", "transform"]) {
    get(name).hidden = !fit.at;
    get(name).href = `${base}/${name}`;
  }
}

function people(state) {
  const begun = state.people.filter((person) => person.done > 0);
  get("nobody").hidden = begun.length > 0;
  get("people").closest(".scroll").hidden = begun.length === 0;
  get("people").replaceChildren(...begun.map((person) => row([
    String(person.person), `${person.done} of ${person.of}`, bar(person.done, person.of), count(person.cannot_tell ?? 0),
    person.seconds === null || person.seconds === undefined ? "–" : person.seconds.toFixed(1), ratio(person.repeats), ratio(person.catch), element("time", day(person.last)),
  ])));
}

function hours(state) {
  const all = state.hours ?? [];
  const most = Math.max(...all.map((hour) => hour.answers));
  get("hours").hidden = all.length === 0;
  get("hours").querySelector("tbody").replaceChildren(
    ...[...all].reverse().map((hour) => row([element("time", day(hour.hour)), count(hour.answers), bar(hour.answers, most)])),
  );
}

function charts(state) {
  const { curve, map, fit } = state;
  const drawn = fit?.charts ?? [];
  const alt = {
    curve: curve?.length && `Agreement rises from ${fixed(curve[0].value)} with ${count(curve[0].answers)} answers to ${fixed(curve.at(-1).value)} with ${count(curve.at(-1).answers)}.`,
    before: "Map of the images before the fit", after: "Map of the images after the fit",
  };
  get("curve").hidden = !curve?.length;
  get("points").replaceChildren(...(curve ?? []).map((point) => row([count(point.answers), fixed(point.value), interval(point)])));
  get("among").hidden = state.ceiling?.value === undefined;
  get("map").hidden = !drawn.includes("after");
  for (const place of document.querySelectorAll("[data-chart]")) {
    const name = place.dataset.chart;
    place.closest("figure").hidden = !drawn.includes(name);
    if (!drawn.includes(name) || place.dataset.at === fit.at) continue;
    place.dataset.at = fit.at;
    const of = (theme) => `${base}/chart/${name}-${theme}.svg?at=${encodeURIComponent(fit.at)}`;
    place.querySelector("source").srcset = of("dark");
    Object.assign(place.querySelector("img"), { src: of("light"), alt: alt[name] });
  }
}

function notice(text) {
  if (get("notice").textContent !== text) get("notice").textContent = text;
}

let timer;
async function load() {
  clearTimeout(timer);
  let wait = 10;
  try {
    const reply = await fetch(`${base}/state`, { cache: "no-store", signal: AbortSignal.timeout?.(15000) });
    if (reply.ok) {
      const state = await reply.json();
      state.people ??= [];
      for (const write of [numbers, verdict, people, hours, charts]) write(state);
      get("updated").textContent = `Updated ${day(new Date(), { timeStyle: "medium" })}`;
      get("owner").dataset.fit = state.fit?.state ?? "never";
      notice("");
      if (state.fit?.state === "running") wait = 1.5;
    } else notice((await reply.json().catch(() => ({}))).error ?? `The server cannot answer at the moment (number ${reply.status}).`);
  } catch {
    notice(`${navigator.onLine ? "The server cannot be reached" : "You are offline"}. The numbers below are those of before.`);
  }
  if (!document.hidden) timer = setTimeout(load, 1000 * wait);
}

document.addEventListener("visibilitychange", () => document.hidden || load());
get("fit").addEventListener("click", async () => {
  if (get("fit").getAttribute("aria-disabled") === "true") return;
  get("fit").setAttribute("aria-disabled", "true");
  try {
    const reply = await fetch(`${base}/fit`, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
    if (!reply.ok) get("fitted").textContent = (await reply.json()).error;
  } catch {
    notice("The server cannot be reached: no fit was begun.");
  }
  timer = setTimeout(load, 1000);
});
await load();
