// The charts of the page's data block. A chart is drawn when it comes near the window: those in closed sections wait.

const { config, cells, templates, data, charts } = JSON.parse(document.getElementById("charts").textContent);
const views = new Map(); // place of a chart -> its Vega view
const jobs = new Map(); // place of a chart -> the promise of its last drawing
const drawn = new Set(); // what to do with a place after each of its drawings

const places = () => [...document.querySelectorAll(".chart")];
const groupOf = (place) => place.closest("[data-group]") ?? document.body;

// A chart is a template and the data sets that it reads by name; a data set is runs of rows that share their fields.
const chartOf = (place) => charts[place.dataset.chart];
const templateOf = (place) => templates[chartOf(place).template];
const unpacked = (runs) =>
  runs.flatMap(({ fields, rows }) => rows.map((row) => Object.fromEntries(fields.map((field, n) => [field, row[n]]))));
const dataOf = (place) => Object.fromEntries(Object.entries(chartOf(place).data).map(([name, key]) => [name, unpacked(data[key])]));
const layersOf = (spec) => [spec, ...(spec.layer ?? []).flatMap(layersOf)];

// The axes that a reader made linear in a group of charts, by their words.
const linearAxes = new WeakMap();
const linearIn = (group) => {
  if (!linearAxes.has(group)) linearAxes.set(group, new Set());
  return linearAxes.get(group);
};

// The logarithmic axes of a chart: [its words, its encoding], an entry for each layer that has it.
const isLogarithmic = (coding) => ["log", "symlog"].includes(coding?.scale?.type);
const axisWords = (coding) => (coding.title ?? coding.field ?? "").replace(/ \(.*\)$/, "");
const logAxes = (spec) =>
  layersOf(spec)
    .flatMap((layer) => [layer.encoding?.x, layer.encoding?.y])
    .filter(isLogarithmic)
    .map((coding) => [axisWords(coding), coding]);

const specOf = (place) => {
  const spec = { ...structuredClone(templateOf(place)), datasets: dataOf(place) };
  const linear = linearIn(groupOf(place));
  for (const [words, coding] of logAxes(spec)) {
    if (!linear.has(words)) continue;
    const { domain, padding } = coding.scale;
    coding.scale = { type: "linear", zero: false, nice: false, ...(domain ? { domain } : {}), ...(padding ? { padding } : {}) };
    if (coding.axis && coding.field !== "batch_size") delete coding.axis.values; // ticks of powers crowd together
  }
  return spec;
};

const draw = async (place) => {
  views.get(place)?.finalize();
  const options = { mode: "vega-lite", renderer: "svg", actions: false, config, tooltip: showTip };
  const { view } = await vegaEmbed(place, specOf(place), options);
  views.set(place, view);
  view.addResizeListener(() => setTimeout(() => afterDrawing(place)));
  afterDrawing(place);
};

const afterDrawing = (place) => drawn.forEach((act) => act(place));

// Drawings of one place follow each other: the last choice wins.
const redraw = (place) => {
  jobs.set(place, (jobs.get(place) ?? Promise.resolve()).then(() => draw(place)));
  return jobs.get(place);
};

const nearby = new IntersectionObserver(
  async (entries) => {
    const arrived = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
    arrived.forEach((place) => nearby.unobserve(place));
    await Promise.all(arrived.map(redraw));
    document.documentElement.dataset.drawn = "yes";
  },
  { rootMargin: "500px" },
);
