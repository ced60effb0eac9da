// The page for participants: consent, instructions, trials, thanks. Nothing is kept in the browser.
const base = location.pathname.replace(/\/+$/, "");
const get = (id) => document.getElementById(id);
const main = get("main");
const choices = [...document.querySelectorAll("button.choice")];
const images = [...document.querySelectorAll("#images img")];

let trial = null; // the trial on the screen
let ready = false; // all its images are visible, and it can be answered
let changing = false; // the trial on the screen is the last one answered, shown again
let resting = false; // the page is paused
let busy = false; // the last action has not ended
let unsent = false; // an answer is being sent
let turn = 0; // counts the trials shown: images of an earlier one change nothing
const ahead = new Map(); // images of the next trials, loaded before they are shown

// ---- the server: a request is repeated until there is a reply; an answer that arrives twice is stored once

async function ask(path, body) {
  for (let tries = 0; ; tries += 1) {
    let wait = Math.min(8, 0.5 * 2 ** tries);
    try {
      const reply = await fetch(path, {
        ...(body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
        cache: "no-store", signal: AbortSignal.timeout?.(15000),
      });
      const later = Number(reply.headers.get("Retry-After"));
      if (reply.status < 500 && !(reply.status === 429 && later)) {
        const data = reply.headers.get("Content-Type")?.includes("json") ? await reply.json() : null;
        notice("");
        return { ok: reply.ok, status: reply.status, data };
      }
      if (later) wait = later;
      if (reply.status >= 500) notice(`The server cannot answer at the moment. ${kept()}`);
      else if (later > 2) notice("One moment: please answer more slowly.");
    } catch {
      notice(`${navigator.onLine ? "The server cannot be reached" : "You are offline"}. ${kept()}`);
    }
    await soon(wait);
  }
}

function kept() {
  return unsent
    ? "Your answer is kept and will be sent by itself: do not close this page."
    : "This page continues by itself as soon as the connection is back.";
}

function soon(seconds) {
  return new Promise((done) => {
    const timer = setTimeout(end, 1000 * seconds);
    function end() {
      clearTimeout(timer);
      removeEventListener("online", end);
      done();
    }
    addEventListener("online", end);
  });
}

// NOTE once, not at each try: screen readers read an alert whenever its text is set
function notice(text) {
  if (get("notice").textContent !== text) get("notice").textContent = text;
}

function say(text) {
  get("status").textContent = text;
}

// ---- the response time: only while the images are visible

const clock = {
  sum: 0, since: null,
  run() { this.since ??= performance.now(); },
  hold() { if (this.since !== null) this.sum += performance.now() - this.since; this.since = null; },
  reset() { this.sum = 0; this.since = null; },
  seconds() { return (this.sum + (this.since === null ? 0 : performance.now() - this.since)) / 1000; },
};
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clock.hold();
  else if (ready && seen("trial")) clock.run();
});

// ---- what is shown

function seen(name) {
  return !get(name).hidden;
}

function view(name, focus = get(name)) {
  for (const section of main.children) section.hidden = section.id !== name;
  document.body.dataset.view = name;
  focus.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function stop(sentence) {
  get("problem").querySelector("p").textContent = sentence;
  get("progress").hidden = true;
  view("problem");
}

// Show what a refusal means; return whether there is one.
function refused({ ok, status, data }) {
  if (ok) return false;
  if (status === 403) view("consent");
  else {
    const reason = data?.error ?? `The server refused the request (status ${status}).`;
    stop(`${reason} If you think that this is an error, tell the person who sent you the link.`);
  }
  return true;
}

function progress({ done, of }) {
  get("progress").hidden = false;
  Object.assign(document.querySelector("progress"), { max: Math.max(1, of), value: done });
  get("count").textContent = `${done} of ${of}`;
}

function label(item, number) {
  const name = item.name.replace(/\.\w{1,5}$/, "");
  return main.dataset.kind !== "anchor" ? `Image ${number + 1}: ${name}` : number ? `Image ${number}: ${name}` : `Reference: ${name}`;
}

async function show(next, words) {
  [trial, ready] = [next, false];
  const mine = (turn += 1);
  progress(next);
  clock.reset();
  get("changing").hidden = !changing;
  get("undo").firstElementChild.textContent = changing ? "Keep it" : "Undo";
  get("undo").hidden = !changing && next.done === 0;
  for (const button of choices) {
    button.setAttribute("aria-disabled", "true");
    button.classList.remove("chosen");
    if (changing) button.setAttribute("aria-pressed", String(button.value === String(next.choice ?? "")));
    else button.removeAttribute("aria-pressed");
  }
  get("images").setAttribute("aria-busy", "true");
  const labels = next.items.map(label);
  images.forEach((image, place) => (image.alt = labels[place]));
  if (!resting && !seen("trial")) view("trial", get("question"));
  const whole = await Promise.all(images.map((image, place) => load(image, next.items[place].url, mine)));
  if (mine !== turn) return;
  get("images").setAttribute("aria-busy", "false");
  ready = true;
  if (seen("trial") && !document.hidden) clock.run();
  const broken = whole.includes(false);
  notice(broken ? "An image of this question cannot be shown. Choose “can’t tell” to continue." : "");
  for (const button of choices) if (!broken || button.value === "") button.removeAttribute("aria-disabled");
  say(`${words ? `${words} ` : ""}${changing ? "Last answer" : `Question ${next.done + 1} of ${next.of}`}. ${labels.join("; ")}.`);
  ahead.clear();
  for (const url of next.next ?? []) ahead.set(url, Object.assign(new Image(), { src: url }));
}

// Whether the image is visible; false if it cannot be shown although the server replies.
async function load(image, url, mine) {
  for (let tries = 0; tries < 3; tries += 1) {
    image.src = url;
    try {
      await image.decode();
      return true;
    } catch {
      if (mine !== turn) return false;
      await ask(url); // until the server can be reached
      image.removeAttribute("src");
    }
  }
  return false;
}

async function next(words) {
  changing = false;
  const reply = await ask(`${base}/trial`);
  if (refused(reply)) return;
  if (reply.data.trial !== null) await show(reply.data, words);
  else thank(reply.data);
}

function thank(end) {
  trial = null;
  ready = false;
  progress(end);
  get("code").hidden = !end.code;
  get("code").querySelector("output").textContent = end.code ?? "";
  get("copy").hidden = !navigator.clipboard;
  const back = /^https?:\/\//.test(end.return_url ?? "") ? end.return_url : null;
  get("return").hidden = back === null;
  get("close").hidden = back !== null;
  if (back !== null) get("return").firstElementChild.href = back;
  get("undo-end").hidden = end.done === 0;
  view("thanks");
}

// ---- actions of a person

// One action at a time: one that comes before the last has ended is taken for a slip.
async function only(action) {
  if (busy) return;
  busy = true;
  try {
    await action();
  } finally {
    busy = false;
  }
}

async function choose(button) {
  if (!ready || button.getAttribute("aria-disabled") === "true") return;
  const seconds = Math.round(1000 * clock.seconds()) / 1000;
  [ready, unsent] = [false, true];
  button.classList.add("chosen");
  const body = { choice: button.value === "" ? null : Number(button.value), seconds, ...(changing && { undo: true }) };
  const reply = await ask(`${base}/trial/${encodeURIComponent(trial.trial)}`, body);
  unsent = false;
  if (reply.status === 409) await next(reply.data?.error ?? ""); // it can no longer be answered
  else if (!refused(reply)) await next(changing ? "Your answer is changed." : "");
}

async function undo() {
  if (changing) return next("Your answer is kept.");
  const reply = await ask(`${base}/last`);
  if (refused(reply)) return;
  if (reply.data.trial === null) return say("There is no answer to undo.");
  changing = true;
  await show(reply.data);
}

function pause() {
  clock.hold();
  get("paused").hidden = false;
  resting = true;
  get("go").textContent = "Continue";
  view("rest");
}

function go() {
  resting = false;
  if (trial === null) return only(next);
  view("trial", get("question"));
  if (ready) clock.run();
}

// NOTE the second click of a double click would answer the next trial
for (const button of choices) button.addEventListener("click", ({ detail }) => detail > 1 || only(() => choose(button)));
get("undo").addEventListener("click", () => only(undo));
get("undo-end").addEventListener("click", () => only(undo));
get("pause").addEventListener("click", pause);
get("go").addEventListener("click", go);
get("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(get("code").querySelector("output").textContent);
  say("Copied.");
  get("copy").textContent = "Copied";
});
get("agree").addEventListener("click", () => only(async () => {
  if (!refused(await ask(`${base}/consent`, {}))) view("rest");
}));
addEventListener("beforeunload", (event) => {
  if (unsent) event.preventDefault();
});
addEventListener("keydown", (event) => {
  if (event.repeat && event.target.closest?.("button")) event.preventDefault(); // a key that is held down is one answer
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (seen("rest") && key === "p" && trial !== null) return go();
  if (!seen("trial")) return;
  const button = choices.find((choice) => choice.getAttribute("aria-keyshortcuts") === key);
  if (button) only(() => choose(button));
  else if (key === "u" || (key === "escape" && changing)) only(undo);
  else if (key === "p") pause();
});

if (main.dataset.consented !== "yes") view("consent");
else {
  const reply = await ask(`${base}/trial`);
  if (!refused(reply)) {
    if (reply.data.trial === null) thank(reply.data);
    else if (reply.data.done === 0) view("rest");
    else await show(reply.data);
  }
}
