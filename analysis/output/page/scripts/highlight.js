// One cell (a configuration, all its seeds) across all charts: hover or focus shows it, a click or Enter pins it,
// Escape lets go. Curves that a legend has switched off fade by the same means: classes on the marks of the SVG.

const pinned = make("div", { className: "pinned", hidden: true, role: "status" });
document.body.append(pinned);

const state = { hovered: null, pinned: null }; // cell ids
const shownCell = () => state.hovered ?? state.pinned;

// Vega keeps the item of a mark on its element; a line or band stands for all records along it.
const itemOf = (element) => element.__data__;
const recordsOf = (item) => (["line", "area", "trail"].includes(item.mark?.marktype) ? item.mark.items : [item]).map((one) => one.datum ?? {});
const marksOf = (place) => [...place.querySelectorAll(".role-mark > *")].filter((element) => itemOf(element)?.datum);

const belongs = (record, id) => record.cell === id || Boolean(record.along && cells[id]?.[1].includes(record.along));
const isOfACell = (record) => Boolean(record.cell || record.along);

const paint = (place) => {
  const id = shownCell();
  const off = switchedOff.get(groupOf(place));
  const own = place.dataset.cell; // a chart of a single network belongs to its cell as a whole
  place.classList.toggle("other", Boolean(id && own && own !== id));
  for (const element of marksOf(place)) {
    const records = recordsOf(itemOf(element));
    const tells = Boolean(id) && !own && records.some(isOfACell);
    const same = tells && records.some((record) => belongs(record, id));
    element.classList.toggle("other", tells && !same);
    element.classList.toggle("same", same && records.length === 1);
    element.classList.toggle("off", Boolean(off) && (off.has(`curve ${records[0].curve}`) || off.has(`kind ${records[0].kind}`)));
  }
};

const paintAll = () => [...views.keys()].forEach(paint);
drawn.add(paint);

const hover = (id) => {
  if (id === state.hovered) return;
  state.hovered = id;
  paintAll();
};

const pin = (id) => {
  state.pinned = id === state.pinned ? null : id;
  const [title] = cells[state.pinned] ?? [];
  pinned.hidden = !title;
  if (title) {
    const clear = make("button", { type: "button", textContent: "Clear (Esc)", onclick: () => pin(state.pinned) });
    const trials = make("span", { className: "note", textContent: trialsOf(state.pinned).join(" · ") });
    pinned.replaceChildren(make("strong", { textContent: title }), trials, clear);
  }
  paintAll();
};

const letGo = () => {
  hideTip();
  state.hovered = null;
  if (state.pinned) pin(state.pinned);
  else paintAll();
};

const cellAt = (target) => {
  const item = target instanceof Element && target.closest(".chart") ? itemOf(target) : null;
  return item?.tooltip ? item.datum.cell ?? target.closest(".chart").dataset.cell ?? null : null;
};

document.addEventListener("pointerover", (event) => hover(cellAt(event.target)));
document.addEventListener("click", (event) => { const id = cellAt(event.target); if (id) pin(id); });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") letGo(); });

// The keyboard's way through a chart: arrows go to the next mark in that direction, along the curve where there is one.
const DIRECTIONS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
const at = new WeakMap(); // place -> the mark that is focused

const middle = (element) => {
  const box = element.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
};

const nextMark = (place, [dx, dy]) => {
  const marks = marksOf(place).filter((element) => itemOf(element).tooltip && !element.classList.contains("off"));
  const from = at.get(place);
  if (!from?.isConnected) return marks[0];
  const [x, y] = middle(from);
  const { curve, kind } = itemOf(from).datum;
  const cost = (element) => {
    const [along, across] = [(middle(element)[0] - x) * dx + (middle(element)[1] - y) * dy, (middle(element)[0] - x) * dy + (middle(element)[1] - y) * dx];
    const record = itemOf(element).datum;
    const strays = dx && (record.curve !== curve || record.kind !== kind) ? 1000 : 0;
    return along > 0.5 ? along + 4 * Math.abs(across) * (dx ? 0.1 : 1) + strays : Infinity;
  };
  const best = marks.reduce((one, other) => (cost(other) < cost(one) ? other : one), from);
  return best === from || cost(best) === Infinity ? from : best;
};

const focusMark = (place, mark) => {
  if (!mark) return;
  at.set(place, mark);
  fillTip(itemOf(mark).tooltip, itemOf(mark).datum);
  moveTip(...middle(mark));
  hover(cellAt(mark));
};

const walk = (event) => {
  const place = event.currentTarget.querySelector(".chart");
  const direction = DIRECTIONS[event.key];
  if (direction) focusMark(place, nextMark(place, direction));
  else if (event.key === "Enter" || event.key === " ") { if (state.hovered) pin(state.hovered); }
  else return;
  event.preventDefault();
};

const leave = () => { hideTip(); hover(null); };

for (const frame of document.querySelectorAll(".frame")) {
  frame.tabIndex = 0;
  frame.addEventListener("keydown", walk);
  frame.addEventListener("blur", leave);
}
