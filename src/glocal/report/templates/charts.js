"use strict";
// Charts are specifications in the page's data, drawn by Vega-Lite in the colours of the theme.
const at = (id) => document.getElementById(id);
const page = JSON.parse(at("data").textContent);
const views = new Map(); // chart → Vega view
const drawn = []; // functions called with (chart, view) after a chart is drawn

let printing = false, shownDark = null;
const isDark = () =>
  !printing && (document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches);

async function draw(place) {
  const name = place.dataset.chart, held = rowsOf(name);
  const spec = { ...page.charts[name], datasets: { ...page.charts[name].datasets, ...held } };
  if (views.has(name)) views.get(name).finalize();
  const result = await window.vegaEmbed(place, spec, {
    actions: false, renderer: name.startsWith("map") ? "canvas" : "svg", config: page.themes[isDark() ? "dark" : "light"],
    tooltip: name.startsWith("map") ? hover : { theme: isDark() ? "dark" : "light" },
  });
  views.set(name, result.view);
  for (const then of drawn) then(name, result.view);
}

async function drawAll() {
  shownDark = isDark();
  for (const place of document.querySelectorAll("[data-chart]")) await draw(place);
  document.documentElement.dataset.drawn = String(views.size);
}

function put(parent, tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== null) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}
