"use strict";
// Charts are specifications in the page, drawn by Vega-Lite; the two maps of a narrow page stand one below the other.
const config = Object.fromEntries(["mark", "axis", "legend", "title"].map((name) => [name, { aria: false }]));
const charts = JSON.parse(document.getElementById("charts").textContent);
for (const place of document.querySelectorAll("[data-chart]")) {
  const spec = charts[place.dataset.chart], maps = spec.hconcat, room = place.clientWidth - 40;
  if (maps) {
    const side = Math.min(520, Math.max(240, room < 640 ? room : room / 2 - 20));
    for (const map of maps) map.width = map.height = side;
    if (room < 640) { spec.vconcat = maps; delete spec.hconcat; }
  }
  window.vegaEmbed(place, spec, { actions: false, renderer: maps ? "canvas" : "svg", config, logLevel: 1 })
    .then(() => { place.dataset.drawn = "yes"; });
}
