// The two texts that a screen reader reads out: the notice at the top of the page, which is an
// alert, and the status, which nobody sees.

const noticeLine = document.getElementById("notice");
const statusLine = document.getElementById("status");

// NOTE once, not at each try: screen readers read an alert whenever its text is set
export function notice(text) {
  if (noticeLine.textContent !== text) noticeLine.textContent = text;
}

export function say(text) {
  statusLine.textContent = text;
}
