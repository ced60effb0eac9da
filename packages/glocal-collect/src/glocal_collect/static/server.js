// Requests to the server. Each is repeated until there is a reply; an answer that arrives twice is
// stored once.

import { notice } from "./announcements.js";

const FIRST_WAIT = 0.5; // seconds before the second try; each further wait is twice as long
const MAX_WAIT = 8; // seconds
const MAX_UNNOTICED_WAIT = 2; // seconds; the page says why it waits for longer
const TIMEOUT = 15000; // milliseconds of a try

let isSending = false; // an answer is on its way

export function isSendingAnswer() {
  return isSending;
}

export async function sendAnswer(path, answer) {
  isSending = true;
  const reply = await ask(path, answer);
  isSending = false;
  return reply;
}

// Return a reply that is no failure of the server; a request with a body is a POST.
export async function ask(path, body) {
  for (let tries = 0; ; tries += 1) {
    let wait = Math.min(MAX_WAIT, FIRST_WAIT * 2 ** tries);
    try {
      const reply = await fetch(path, options(body));
      const retryAfter = Number(reply.headers.get("Retry-After")) || 0;
      const hasFailed = reply.status >= 500;
      const isTooFast = reply.status === 429 && retryAfter !== 0;
      if (!hasFailed && !isTooFast) {
        const data = await json(reply);
        notice("");
        return { ok: reply.ok, status: reply.status, data };
      }
      if (retryAfter !== 0) wait = retryAfter;
      if (hasFailed) {
        notice(`The server cannot answer at the moment. ${consequence()}`);
      } else if (retryAfter > MAX_UNNOTICED_WAIT) {
        notice("One moment: please answer more slowly.");
      }
    } catch {
      const reason = navigator.onLine ? "The server cannot be reached" : "You are offline";
      notice(`${reason}. ${consequence()}`);
    }
    await soon(wait);
  }
}

function options(body) {
  const common = { cache: "no-store", signal: AbortSignal.timeout?.(TIMEOUT) };
  if (!body) return common;
  return {
    ...common,
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
}

async function json(reply) {
  const isJson = reply.headers.get("Content-Type")?.includes("json");
  return isJson ? reply.json() : null;
}

function consequence() {
  return isSending
    ? "Your answer is kept and will be sent by itself: do not close this page."
    : "This page continues by itself as soon as the connection is back.";
}

// Wait for some seconds, or until the browser is online again.
function soon(seconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(end, 1000 * seconds);
    function end() {
      clearTimeout(timer);
      removeEventListener("online", end);
      resolve();
    }
    addEventListener("online", end);
  });
}
