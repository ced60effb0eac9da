"use strict";
// The page holds each picture once, by name. The search shows any object. Vega-Lite draws the charts.
const shown = JSON.parse(document.getElementById("shown").textContent);
for (const place of document.querySelectorAll("[data-of]")) {
  place.setAttribute(place.tagName === "image" ? "href" : "src", shown.pictures[place.dataset.of]);
}
const make = (tag, kind, ...inside) => {
  const element = document.createElement(tag);
  element.className = kind;
  element.append(...inside);
  return element;
};
const thing = (name) => {
  const picture = [];
  if (Object.hasOwn(shown.pictures, name)) {
    picture.push(Object.assign(document.createElement("img"), { src: shown.pictures[name], alt: "", width: 48, height: 48 }));
  }
  return make("span", "thing", ...picture, make("bdi", "", name.replaceAll("_", " ")));
};
for (const input of document.querySelectorAll("[data-find]")) {
  const { names, lists } = shown.objects[input.dataset.find];
  const spoken = names.map((name) => name.replaceAll("_", " ").toLowerCase());
  const rows = document.querySelector(`[data-objects="${input.dataset.find}"]`);
  const match = (text) => {
    if (!text) return -1;
    const whole = spoken.indexOf(text);
    return whole >= 0 ? whole : spoken.findIndex((name) => name.startsWith(text));
  };
  input.addEventListener("input", () => {
    const row = match(input.value.trim().replaceAll("_", " ").toLowerCase());
    rows.querySelector(".match")?.remove();
    if (row < 0) return;
    const sides = ["before", "after"].map((when, side) => {
      const items = lists[side][row].map(([other, stays]) => make("li", stays ? "stays" : ["lost", "gained"][side], thing(names[other])));
      return make("div", "", make("small", "", when), make("ul", "near", ...items));
    });
    rows.prepend(make("div", "change match", make("b", "", thing(names[row])), ...sides));
  });
}
const text = { labelFontSize: 14, titleFontSize: 14, titleFontWeight: 400 };
const config = { background: "transparent", font: "system-ui, sans-serif", view: { stroke: null }, mark: { aria: false }, axis: { aria: false, ...text }, legend: { aria: false, layout: { top: { anchor: "end" } }, ...text }, title: { aria: false } };
for (const place of document.querySelectorAll("[data-chart]")) {
  window.vegaEmbed(place, shown.charts[place.dataset.chart], { actions: false, renderer: "svg", config, logLevel: 1 })
    .then(() => { place.dataset.drawn = "yes"; });
}
