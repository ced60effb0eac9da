// Objects: one network, one arm beside the baseline, one object looked for.
const state = { network: null, arm: null, object: 0 };

function unpack(text, kind) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new kind(bytes.buffer);
}

function opened(arm) {
  if (!arm.open) {
    arm.open = { map: unpack(arm.map.values, Int16Array), near: unpack(arm.neighbours, arm.wide ? Uint32Array : Uint16Array) };
  }
  return arm.open;
}

const near = (arm, object) => [...opened(arm).near.subarray(object * arm.k, (object + 1) * arm.k)];
const nameOf = (object) => state.network.names[object];
const pictureOf = (object) => page.objects.pictures[state.network.pictures ? state.network.pictures[object] : -1];

// The name stands beside a picture, so that its own text would say it twice.
function putPicture(parent, object) {
  if (pictureOf(object)) put(parent, "img", null, { src: pictureOf(object), alt: "", class: "thumb" });
}

// What the pointer is on in a map: its picture, name and category, as text, never as markup.
function hover(handler, event, item, value) {
  const box = at("hover"), datum = item && item.datum;
  box.hidden = !value || !datum || datum.number === undefined;
  if (box.hidden) return;
  const picture = box.querySelector("img"), [name, category] = box.querySelectorAll("p");
  picture.hidden = !pictureOf(datum.number);
  if (!picture.hidden) picture.src = pictureOf(datum.number);
  name.textContent = datum.name;
  category.textContent = datum.category;
  const { width, height } = box.getBoundingClientRect(), beside = (at, size, room) => (at + 12 + size < room ? at + 12 : Math.max(0, at - 12 - size));
  box.style.left = `${beside(event.clientX, width, innerWidth)}px`;
  box.style.top = `${beside(event.clientY, height, innerHeight)}px`;
}

function mapRows(arm) {
  const { names, categories } = state.network, map = opened(arm).map, close = new Set(near(arm, state.object));
  return names.map((name, i) => {
    const category = categories ? categories[i] : "";
    return {
      number: i, name, category, colour: page.objects.coloured.includes(category) ? category : "other",
      x: map[2 * i] * arm.map.scale, y: map[2 * i + 1] * arm.map.scale,
      state: i === state.object ? "selected" : close.has(i) ? "neighbour" : "",
    };
  });
}

// The data of a chart that depends on what is chosen, else null: a chart never starts empty.
function rowsOf(name) {
  if (!page.objects) return null;
  if (name.startsWith("map")) return { objects: mapRows(name === "map-before" ? state.network.arms[0] : state.arm) };
  if (name !== "gain" && name !== "share") return null;
  const [gains, before, after] = state.arm.axes || [[1], [1], [1]];
  const rows = (shares, when) =>
    shares.map((share, i) => ({ axis: i + 1, share, when })).filter((row) => row.share > 1e-8);
  return { axes: name === "gain" ? gains.map((gain, i) => ({ axis: i + 1, gain })) : [...rows(before, "before"), ...rows(after, "after")] };
}

function fill(name) {
  const view = views.get(name);
  if (!view) return;
  for (const [key, rows] of Object.entries(rowsOf(name))) view.data(key, rows).runAsync();
}

function showNeighbours() {
  const lists = [state.network.arms[0], state.arm].map((arm) => near(arm, state.object));
  ["before", "after"].forEach((when, side) => {
    const list = at(`neighbours-${when}`), other = new Set(lists[1 - side]);
    list.replaceChildren();
    for (const object of lists[side]) {
      const line = put(list, "li", null);
      const button = put(line, "button", null, { type: "button", dir: "auto" });
      putPicture(button, object);
      put(button, "span", nameOf(object));
      button.addEventListener("click", () => choose(object));
      if (!other.has(object)) put(line, "span", side ? "new" : "gone", { class: `tag ${side ? "new" : "gone"}` });
    }
  });
  at("selected").textContent = nameOf(state.object);
  const portrait = at("portrait"), picture = pictureOf(state.object);
  portrait.hidden = !picture;
  if (picture) portrait.src = picture;
  portrait.alt = picture ? `picture of ${nameOf(state.object)}` : "";
  const kept = lists[0].filter((object) => lists[1].includes(object)).length;
  const category = state.network.categories ? ` (${state.network.categories[state.object]})` : "";
  at("found").textContent = `${nameOf(state.object)}${category}: ${kept} of ${state.arm.k} nearest neighbours stay.`;
}

function showFlips() {
  const arm = state.arm, only = at("flips-of-object").checked;
  const kind = arm.split === "heldout" ? "held-out answers" : "answers, which the transform was fitted on,";
  let told = `Of ${arm.n_answers} ${kind} ${arm.n_gained} became right and ${arm.n_lost} wrong.`;
  if (arm.difference) {
    const [value, low, high] = arm.difference.map((x) => x === null ? null : (x >= 0 ? "+" : "") + x.toFixed(3));
    told += ` Accuracy changed by ${value} ${low === null ? "(no interval)" : `[${low}, ${high}]`}.`;
  }
  if (!arm.n_answers) told = arm === state.network.arms[0]
    ? "This is the baseline itself: choose another transform." : "There were no answers to compare.";
  at("flips-told").textContent = told + (arm.n_answers ? " Those whose margin moved most come first." : "");
  for (const side of ["gained", "lost"]) {
    const rows = arm[side].filter((answer) => !only || answer.includes(state.object)), table = at(side);
    table.replaceChildren();
    const head = put(put(table, "thead", null), "tr", null);
    put(head, "th", "people: these two go together", { scope: "col" });
    put(head, "th", "the one left out", { scope: "col" });
    const body = put(table, "tbody", null);
    for (const [a, b, odd] of rows.slice(0, 200)) {
      const line = put(body, "tr", null), pair = put(line, "td", null);
      const name = (cell, object) => {
        const together = put(cell, "span", null, { class: "named" });
        putPicture(together, object);
        put(together, "bdi", nameOf(object));
        return together;
      };
      name(pair, a).append(",");
      pair.append(" ");
      name(pair, b);
      name(put(line, "td", null), odd);
    }
    if (!rows.length) put(put(body, "tr", null), "td", "none", { colspan: 2 });
    if (rows.length > 200) put(put(body, "tr", null), "td", `and ${rows.length - 200} more`, { colspan: 2 });
  }
}

function showMatrices() {
  const { network, arm } = state, place = at("matrices");
  place.replaceChildren();
  const shown = [[`before: ${network.arms[0].name}`, network.arms[0].rdm]];
  if (arm !== network.arms[0]) shown.push([`after: ${arm.name}`, arm.rdm]);
  if (network.people) shown.push(["people", network.people]);
  for (const [name, matrix] of shown) {
    const figure = put(place, "figure", null);
    put(put(figure, "figcaption", null), "bdi", name);
    const box = put(figure, "div", null, { class: network.bands.length ? "matrix" : "matrix plain" });
    if (network.bands.length) {
      const bands = put(box, "div", null, { class: "bands", "aria-hidden": "true" });
      for (const [category, from, to] of network.bands)
        put(bands, "span", category, { style: `top: ${50 * (from + to)}%`, title: category });
    }
    put(box, "img", null, { src: matrix.url, alt: `Dissimilarity matrix, ${name}, ${matrix.cells} by ${matrix.cells} cells` });
    const scale = put(figure, "div", null, { class: "scale" });
    put(scale, "span", `${matrix.low.toFixed(2)} alike`);
    put(scale, "i", null, { "aria-hidden": "true" });
    put(scale, "span", `${matrix.high.toFixed(2)} unlike`);
  }
}

function showArm() {
  const base = state.network.arms[0];
  for (const place of document.querySelectorAll(".before")) place.textContent = base.name;
  for (const place of document.querySelectorAll(".after")) place.textContent = state.arm.name;
  for (const [place, told] of Object.entries({ ...state.arm.titles, ...state.network.captions })) at(place).textContent = told;
  at("spectrum").hidden = !state.arm.axes;
  showFlips();
  showMatrices();
  showObject();
  fill("gain");
  fill("share");
}

function showObject() {
  showNeighbours();
  if (at("flips-of-object").checked) showFlips();
  fill("map-before");
  fill("map-after");
}

function choose(object) {
  state.object = object;
  at("search").value = nameOf(object);
  showObject();
}

function chooseNetwork(number) {
  const wanted = state.arm ? state.arm.name : null, object = state.network ? nameOf(state.object) : null;
  state.network = page.objects.networks[number];
  const { arms, names } = state.network;
  at("arm").replaceChildren();
  arms.forEach((arm, i) => put(at("arm"), "option", arm.name, { value: i }));
  const same = arms.findIndex((arm) => arm.name === wanted), last = arms.length - 1;
  at("arm").value = String(same >= 0 ? same : last);
  state.arm = arms[same >= 0 ? same : last];
  state.object = Math.max(0, names.indexOf(object));
  at("search").value = nameOf(state.object);
  const options = document.createDocumentFragment();
  for (const name of names) put(options, "option", null, { value: name });
  at("names").replaceChildren(options);
  showArm();
}

function search() {
  const wanted = at("search").value.trim().toLowerCase(), names = state.network.names;
  if (!wanted) return;
  let found = names.findIndex((name) => name.trim().toLowerCase() === wanted);
  if (found < 0) found = names.findIndex((name) => name.toLowerCase().includes(wanted));
  if (found < 0) {
    at("found").textContent = "No object has this in its name.";
    return;
  }
  state.object = found;
  showObject();
}

function startObjects() {
  if (!page.objects) return;
  page.objects.networks.forEach((network, i) => put(at("network"), "option", network.name, { value: i }));
  at("network").addEventListener("change", () => chooseNetwork(Number(at("network").value)));
  at("arm").addEventListener("change", () => { state.arm = state.network.arms[Number(at("arm").value)]; showArm(); });
  at("search").addEventListener("input", search);
  at("search").addEventListener("change", () => { search(); at("search").value = nameOf(state.object); });
  at("search").addEventListener("focus", () => at("search").select());
  at("flips-of-object").addEventListener("change", showFlips);
  drawn.push((name, view) => {
    if (name.startsWith("map")) view.addEventListener("click", (event, item) => {
      if (item && item.datum && item.datum.number !== undefined) choose(item.datum.number);
    });
  });
  chooseNetwork(0);
}
