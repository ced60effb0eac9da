// A point of a front: clicked in the chart or chosen from the list, its settings are listed beside it.

function showPoint(front, number) {
  const point = page.fronts[front][number], view = views.get(`front-${front}`);
  if (!point) return;
  at(`point-${front}`).value = String(number);
  if (view) view.signal("picked", number).runAsync();
  const list = document.createElement("dl");
  const line = (name, value) => {
    const row = put(list, "div", null);
    put(row, "dt", name);
    put(row, "dd", value);
  };
  line("method", point.method + (point.chosen ? " (chosen)" : ""));
  for (const [name, value] of Object.entries(point.settings)) line(name, String(value));
  if (point.method !== "original") {
    line("on the front", point.front ? "yes" : "no");
    line("converged", point.converged ? "yes" : "no");
  }
  line("sweep", point.sweep);
  for (const [name, value] of Object.entries(point.scores))
    if (value !== null) line(name, Number.isInteger(value) ? String(value) : value.toPrecision(4));
  at(`settings-${front}`).replaceChildren(list);
}

// Left and right along the front, its ends by Home and End: points that are drawn strong, by neighbours kept.
function walk(front, key) {
  const points = page.fronts[front], list = at(`point-${front}`);
  const order = [...points.keys()].filter((i) => points[i].strong || points[i].chosen)
    .sort((a, b) => points[a].kept - points[b].kept || points[a].accuracy - points[b].accuracy);
  const now = points[Number(list.value)], here = order.indexOf(Number(list.value));
  const after = here >= 0 ? here + 1 : order.findIndex((i) => points[i].kept > now.kept);
  const right = after < 0 ? order.length : after, left = (here >= 0 ? here : right) - 1;
  const to = { ArrowRight: right, ArrowLeft: left, Home: 0, End: order.length - 1 }[key];
  showPoint(front, order[Math.min(Math.max(to, 0), order.length - 1)]);
}

function startFronts() {
  for (const figure of document.querySelectorAll("figure.front"))
    figure.addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key) || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      walk(Number(figure.dataset.front), event.key);
    });
  for (const list of document.querySelectorAll("select.point")) {
    const front = Number(list.dataset.front), points = page.fronts[front];
    const order = [...points.keys()].sort((a, b) => points[b].chosen - points[a].chosen
      || (points[b].method === "original") - (points[a].method === "original") || points[b].accuracy - points[a].accuracy);
    for (const sweep of new Set(points.map((point) => point.sweep))) {
      const group = put(list, "optgroup", null, { label: sweep });
      for (const number of order) if (points[number].sweep === sweep) put(group, "option", points[number].label, { value: number });
    }
    list.addEventListener("change", () => showPoint(front, Number(list.value)));
    showPoint(front, Number(list.options[0].value));
  }
  drawn.push((name, view) => {
    if (!name.startsWith("front-")) return;
    const front = Number(name.slice(6));
    view.signal("picked", Number(at(`point-${front}`).value)).runAsync();
    view.addEventListener("click", (event, item) => {
      if (item && item.datum && item.datum.number !== undefined) showPoint(front, item.datum.number);
    });
  });
}
