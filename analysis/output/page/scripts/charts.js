// The charts of the page's data block. A chart is drawn when it comes near the window: those in closed sections wait.

const { config, cells, templates, data, charts } = JSON.parse(document.getElementById("charts").textContent);
const views = new Map(); // place of a chart -> its Vega view
const jobs = new Map(); // place of a chart -> the promise of its drawing
const drawn = new Set(); // what to do with a place once it is drawn

const places = () => [...document.querySelectorAll(".chart")];
const groupOf = (place) => place.closest("[data-group]") ?? document.body;

// A chart is a template and the data sets that it reads by name; a data set is runs of rows that share their fields.
const chartOf = (place) => charts[place.dataset.chart];
const templateOf = (place) => templates[chartOf(place).template];
const unpacked = (runs) =>
  runs.flatMap(({ fields, rows }) => rows.map((row) => Object.fromEntries(fields.map((field, n) => [field, row[n]]))));
const dataOf = (place) => Object.fromEntries(Object.entries(chartOf(place).data).map(([name, key]) => [name, unpacked(data[key])]));
const layersOf = (spec) => [spec, ...(spec.layer ?? []).flatMap(layersOf)];

const specOf = (place) => ({ ...structuredClone(templateOf(place)), datasets: dataOf(place) });

const draw = async (place) => {
  const options = { mode: "vega-lite", renderer: "svg", actions: false, config, tooltip: showTip };
  const { view } = await vegaEmbed(place, specOf(place), options);
  views.set(place, view);
  view.addResizeListener(() => setTimeout(() => afterDrawing(place)));
  afterDrawing(place);
};

const afterDrawing = (place) => drawn.forEach((act) => act(place));

const drawOnce = (place) => {
  if (!jobs.has(place)) jobs.set(place, draw(place));
  return jobs.get(place);
};

const nearby = new IntersectionObserver(
  async (entries) => {
    const arrived = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
    arrived.forEach((place) => nearby.unobserve(place));
    await Promise.all(arrived.map(drawOnce));
    document.documentElement.dataset.drawn = "yes";
  },
  { rootMargin: "500px" },
);
