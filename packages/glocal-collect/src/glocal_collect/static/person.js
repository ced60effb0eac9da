// The page for participants: consent, instructions, trials, thanks. Nothing is kept in the browser.
// The requests are in server.js, the response time in clock.js, and the texts that a screen reader
// reads out in announcements.js.

import { notice, say } from "./announcements.js";
import * as clock from "./clock.js";
import { ask, isSendingAnswer, sendAnswer } from "./server.js";

const base = location.pathname.replace(/\/+$/, "");
const get = (id) => document.getElementById(id);
const main = get("main");
const choices = [...document.querySelectorAll("button.choice")];
const images = [...document.querySelectorAll("#images img")];

const MAX_LOADS = 3; // of an image that the browser cannot show

const state = {
  trial: null, // the trial on the screen
  ready: false, // all its images are visible, and it can be answered
  changing: false, // the trial on the screen is the last one answered, shown again
  resting: false, // the page is paused
  busy: false, // the last action has not ended
  turn: 0, // counts the trials shown: images of an earlier one change nothing
};
const ahead = new Map(); // images of the next trials, loaded before they are shown

// ---- the sections of the page

function isShown(name) {
  return !get(name).hidden;
}

function showSection(name, focus = get(name)) {
  for (const section of main.children) section.hidden = section.id !== name;
  document.body.dataset.view = name;
  focus.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function showProblem(sentence) {
  get("problem").querySelector("p").textContent = sentence;
  get("progress").hidden = true;
  showSection("problem");
}

// Show what a refusal means; return whether there is one.
function refused({ ok, status, data }) {
  if (ok) return false;
  if (status === 403) {
    showSection("consent");
  } else {
    const reason = data?.error ?? `The server refused the request (status ${status}).`;
    const advice = "If you think that this is an error, tell the person who sent you the link.";
    showProblem(`${reason} ${advice}`);
  }
  return true;
}

function showProgress({ done, of }) {
  const bar = document.querySelector("progress");
  bar.max = Math.max(1, of);
  bar.value = done;
  get("progress").hidden = false;
  get("count").textContent = `${done} of ${of}`;
}

function showThanks(end) {
  state.trial = null;
  state.ready = false;
  showProgress(end);
  get("code").hidden = !end.code;
  get("code").querySelector("output").textContent = end.code ?? "";
  get("copy").hidden = !navigator.clipboard;
  const back = /^https?:\/\//.test(end.return_url ?? "") ? end.return_url : null;
  get("return").hidden = back === null;
  get("close").hidden = back !== null;
  if (back !== null) get("return").firstElementChild.href = back;
  get("undo-end").hidden = end.done === 0;
  showSection("thanks");
}

// ---- a trial

async function showNext(words) {
  state.changing = false;
  const reply = await ask(`${base}/trial`);
  if (refused(reply)) return;
  if (reply.data.trial === null) showThanks(reply.data);
  else await showTrial(reply.data, words);
}

// Show a trial, first without its images; `words` are read out before it.
async function showTrial(trial, words) {
  state.trial = trial;
  state.ready = false;
  state.turn += 1;
  const turn = state.turn;
  clock.reset();
  showProgress(trial);
  showUndo(trial);
  for (const button of choices) closeChoice(button, trial);
  const labels = trial.items.map(label);
  images.forEach((image, place) => (image.alt = labels[place]));
  get("images").setAttribute("aria-busy", "true");
  if (!state.resting && !isShown("trial")) showSection("trial", get("question"));

  const loads = images.map((image, place) => load(image, trial.items[place].url, turn));
  const visible = await Promise.all(loads);
  if (turn !== state.turn) return;
  get("images").setAttribute("aria-busy", "false");
  openChoices(!visible.includes(false));
  const title = state.changing ? "Last answer" : `Question ${trial.done + 1} of ${trial.of}`;
  const announcement = `${title}. ${labels.join("; ")}.`;
  say(words ? `${words} ${announcement}` : announcement);
  loadAhead(trial.next ?? []);
}

function showUndo(trial) {
  get("changing").hidden = !state.changing;
  get("undo").firstElementChild.textContent = state.changing ? "Keep it" : "Undo";
  get("undo").hidden = !state.changing && trial.done === 0;
}

// Let a button wait for the images of a trial; it is pressed if the last answer was its choice.
function closeChoice(button, trial) {
  button.setAttribute("aria-disabled", "true");
  button.classList.remove("chosen");
  if (state.changing) {
    const isChoice = button.value === String(trial.choice ?? "");
    button.setAttribute("aria-pressed", String(isChoice));
  } else {
    button.removeAttribute("aria-pressed");
  }
}

// Let the trial be answered; “can’t tell” is the only choice if an image is not visible.
function openChoices(isWhole) {
  const defect = "An image of this question cannot be shown. Choose “can’t tell” to continue.";
  state.ready = true;
  if (isShown("trial") && !document.hidden) clock.run();
  notice(isWhole ? "" : defect);
  for (const button of choices) {
    if (isWhole || button.value === "") button.removeAttribute("aria-disabled");
  }
}

function label(item, place) {
  const name = item.name.replace(/\.\w{1,5}$/, "");
  if (main.dataset.kind !== "anchor") return `Image ${place + 1}: ${name}`;
  if (place === 0) return `Reference: ${name}`;
  return `Image ${place}: ${name}`;
}

// Whether the image is visible; false if it cannot be shown although the server replies.
async function load(image, url, turn) {
  for (let tries = 0; tries < MAX_LOADS; tries += 1) {
    image.src = url;
    try {
      await image.decode();
      return true;
    } catch {
      if (turn !== state.turn) return false;
      await ask(url); // until the server can be reached
      image.removeAttribute("src");
    }
  }
  return false;
}

function loadAhead(urls) {
  ahead.clear();
  for (const url of urls) {
    const image = new Image();
    image.src = url;
    ahead.set(url, image);
  }
}

// ---- actions of a person

// One action at a time: one that comes before the last has ended is taken for a slip.
async function only(action) {
  if (state.busy) return;
  state.busy = true;
  try {
    await action();
  } finally {
    state.busy = false;
  }
}

async function agree() {
  const reply = await ask(`${base}/consent`, {});
  if (!refused(reply)) showSection("rest");
}

async function choose(button) {
  if (!state.ready || button.getAttribute("aria-disabled") === "true") return;
  state.ready = false;
  button.classList.add("chosen");
  const answer = {
    choice: button.value === "" ? null : Number(button.value),
    seconds: Math.round(1000 * clock.seconds()) / 1000,
  };
  if (state.changing) answer.undo = true;
  const reply = await sendAnswer(`${base}/trial/${encodeURIComponent(state.trial.trial)}`, answer);
  if (reply.status === 409) {
    await showNext(reply.data?.error ?? ""); // it can no longer be answered
  } else if (!refused(reply)) {
    await showNext(state.changing ? "Your answer is changed." : "");
  }
}

async function undo() {
  if (state.changing) return showNext("Your answer is kept.");
  const reply = await ask(`${base}/last`);
  if (refused(reply)) return;
  if (reply.data.trial === null) return say("There is no answer to undo.");
  state.changing = true;
  await showTrial(reply.data);
}

function pause() {
  clock.hold();
  get("paused").hidden = false;
  state.resting = true;
  get("go").textContent = "Continue";
  showSection("rest");
}

function go() {
  state.resting = false;
  if (state.trial === null) return only(showNext);
  showSection("trial", get("question"));
  if (state.ready) clock.run();
}

async function copy() {
  await navigator.clipboard.writeText(get("code").querySelector("output").textContent);
  say("Copied.");
  get("copy").textContent = "Copied";
}

function press(event) {
  // NOTE a key that is held down is one answer
  if (event.repeat && event.target.closest?.("button")) event.preventDefault();
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (isShown("rest") && key === "p" && state.trial !== null) return go();
  if (!isShown("trial")) return;
  const button = choices.find((choice) => choice.getAttribute("aria-keyshortcuts") === key);
  if (button) only(() => choose(button));
  else if (key === "u" || (key === "escape" && state.changing)) only(undo);
  else if (key === "p") pause();
}

// ---- events

for (const button of choices) {
  button.addEventListener("click", (event) => {
    // NOTE the second click of a double click would answer the next trial
    if (event.detail <= 1) only(() => choose(button));
  });
}
get("agree").addEventListener("click", () => only(agree));
get("undo").addEventListener("click", () => only(undo));
get("undo-end").addEventListener("click", () => only(undo));
get("pause").addEventListener("click", pause);
get("go").addEventListener("click", go);
get("copy").addEventListener("click", copy);
addEventListener("keydown", press);
addEventListener("beforeunload", (event) => {
  if (isSendingAnswer()) event.preventDefault();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) clock.hold();
  else if (state.ready && isShown("trial")) clock.run();
});

// ---- the first view

async function begin() {
  if (main.dataset.consented !== "yes") return showSection("consent");
  const reply = await ask(`${base}/trial`);
  if (refused(reply)) return;
  if (reply.data.trial === null) showThanks(reply.data);
  else if (reply.data.done === 0) showSection("rest");
  else await showTrial(reply.data);
}

await begin();
