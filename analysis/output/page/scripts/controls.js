// What a reader can choose: the curves of a legend, attack and epsilon.

const drawnIn = (group) => [...group.querySelectorAll(".chart")].filter((place) => views.has(place));

// -- legends: a click switches a curve off and on, in all charts of the group

const switchedOff = new WeakMap(); // group -> what is off: "curve NAME" or "kind NAME"

const onLegend = (event) => {
  const entry = event.target.closest("button[data-curve], button[data-kind]");
  if (!entry) return;
  const group = groupOf(entry);
  const off = switchedOff.get(group) ?? new Set();
  const what = entry.dataset.curve === undefined ? `kind ${entry.dataset.kind}` : `curve ${entry.dataset.curve}`;
  if (!off.delete(what)) off.add(what);
  switchedOff.set(group, off);
  entry.setAttribute("aria-pressed", String(!off.has(what)));
  drawnIn(group).forEach(paint);
};

// -- pickers: of the figures of one attack or epsilon, which leave the others as they are

const showPicked = (group) => {
  const pickers = [...group.querySelectorAll("select")].filter((picker) => picker.value !== "");
  const passes = (figure, { name, value }) => figure.dataset[name] === undefined || figure.dataset[name] === value;
  for (const figure of group.querySelectorAll("figure")) figure.hidden = !pickers.every((picker) => passes(figure, picker));
};

for (const group of document.querySelectorAll("[data-group]")) {
  showPicked(group);
  group.querySelector(".controls")?.removeAttribute("hidden");
}
document.addEventListener("click", onLegend);
document.addEventListener("change", (event) => showPicked(groupOf(event.target)));
