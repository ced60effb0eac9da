"use strict";
// Charts are specifications in the page's data, drawn by Vega-Lite in the colours of the theme.
const page = JSON.parse(document.getElementById("data").textContent);
const views = new Map(); // chart → Vega view
const drawn = []; // functions called with (chart, view) after a chart is drawn

const isDark = () =>
  document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;

function theme() {
  const dark = isDark();
  const ink = dark ? "#e8eaed" : "#1b1f24", soft = dark ? "#a9b0b9" : "#545b64", line = dark ? "#3a414a" : "#e1e4e9";
  const mark = dark ? "#ff7ad9" : "#c2007a";
  const text = { labelColor: soft, titleColor: ink, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" };
  return {
    background: "transparent", font: "system-ui, sans-serif", aria: true, mark: { aria: false },
    axis: { ...text, gridColor: line, domainColor: soft, tickColor: soft, aria: false },
    legend: { ...text, aria: false }, view: { stroke: line },
    style: {
      halo: { stroke: dark ? "#15181c" : "#ffffff", strokeWidth: 4, strokeJoin: "round", strokeOpacity: 0.85 },
      ink: { stroke: ink, color: ink }, inkfill: { fill: ink, color: ink },
      picked: { stroke: mark, fill: mark, color: mark },
    },
  };
}

async function draw(place) {
  const name = place.dataset.chart, held = rowsOf(name);
  const spec = held ? { ...page.charts[name], datasets: held } : page.charts[name];
  if (views.has(name)) views.get(name).finalize();
  const result = await window.vegaEmbed(place, spec, {
    actions: false, renderer: name.startsWith("map") ? "canvas" : "svg", config: theme(),
    tooltip: name.startsWith("map") ? hover : { theme: isDark() ? "dark" : "light" },
  });
  views.set(name, result.view);
  for (const then of drawn) then(name, result.view);
}

async function drawAll() {
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
