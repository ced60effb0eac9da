// The clock of the response time, which the page runs only while the images are visible.

let sum = 0; // milliseconds before the last hold
let since = null; // the time when it began to run, or null while it is held

export function run() {
  since ??= performance.now();
}

export function hold() {
  sum += running();
  since = null;
}

export function reset() {
  sum = 0;
  since = null;
}

export function seconds() {
  return (sum + running()) / 1000;
}

// The milliseconds since it began to run.
function running() {
  return since === null ? 0 : performance.now() - since;
}
