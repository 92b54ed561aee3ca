// Tooltips: the numbers of a mark and the trials of its cell. Everything is set as text, nothing as markup.

const MOST_TRIALS = 6;

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const tip = make("div", { className: "tip", role: "status", hidden: true });
document.body.append(tip);

// "seed 0: 2cf2…", one a trial; several seeds of a cell are one mark.
const trialsOf = (id) => (cells[id]?.[2] ?? []).map(([seed, trial, state]) => `seed ${seed}: ${trial}${state ? ` (${state})` : ""}`);

const tipLines = (value, datum) => {
  const numbers = Object.entries(value).filter(([, text]) => !["null", "undefined", "–", ""].includes(String(text)));
  const trials = trialsOf(datum?.cell);
  const shown = trials.slice(0, MOST_TRIALS);
  if (trials.length > shown.length) shown.push(`and ${trials.length - shown.length} more`);
  return [...numbers, ...shown.map((text, n) => [n ? "" : trials.length > 1 ? "trials" : "trial", text])];
};

const fillTip = (value, datum) => {
  const rows = tipLines(value, datum).map(([term, text]) => make("tr", {}, make("th", { textContent: term }), make("td", { textContent: text })));
  tip.replaceChildren(make("table", {}, make("tbody", {}, ...rows)));
  tip.hidden = false;
};

const moveTip = (x, y) => {
  const { width, height } = tip.getBoundingClientRect();
  const left = x + 14 + width > innerWidth ? Math.max(4, x - 14 - width) : x + 14;
  const top = y + 14 + height > innerHeight ? Math.max(4, y - 14 - height) : y + 14;
  tip.style.transform = `translate(${left}px, ${top}px)`;
};

const hideTip = () => { tip.hidden = true; };

// Vega calls this with the mark under the pointer and its tooltip's fields, and without one when it has gone.
const showTip = (_, event, item, value) => {
  if (!value || typeof value !== "object") return hideTip();
  fillTip(value, item.datum);
  return moveTip(event.clientX, event.clientY);
};
