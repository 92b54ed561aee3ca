// Each chart's numbers as a table, made from the chart's own data when a reader opens it.

// The marks with a tooltip are those that show a number; their fields, titles and formats make the columns.
const withTooltip = (spec) => layersOf(spec).find((layer) => Array.isArray(layer.encoding?.tooltip));

const rowsOf = (place, spec) => dataOf(place)[withTooltip(spec)?.data?.name ?? spec.data?.name] ?? [];

const columnsOf = (spec) =>
  (withTooltip(spec)?.encoding.tooltip ?? []).map(({ field, title, format }) => ({ field, title: title ?? field, format }));

const written = (value, format, row, locale) => {
  if (typeof value === "number" && format) return locale.format(format)(value);
  if (value === null || value === undefined) return row.state && row.state !== "ok" ? row.state : "–";
  return String(value);
};

const tableOf = (place) => {
  const spec = templateOf(place);
  const locale = views.get(place).locale();
  const rows = rowsOf(place, spec);
  const columns = columnsOf(spec);
  const links = rows.some((row) => row.cell);
  const head = [...columns.map(({ title }) => title), ...(links ? ["trials"] : [])];
  const line = (row) => [
    ...columns.map(({ field, format }) => written(row[field] ?? null, format, row, locale)),
    ...(links ? [trialsOf(row.cell).join(", ")] : []),
  ];
  const cellsOf = (tag, texts) => texts.map((textContent) => make(tag, { textContent }));
  const body = rows.map((row) => make("tr", {}, ...cellsOf("td", line(row))));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...cellsOf("th", head))), make("tbody", {}, ...body));
  for (const cell of table.querySelectorAll("thead th")) cell.scope = "col";
  return make("div", { className: "scroll", tabIndex: 0 }, table);
};

const addTable = (figure) => {
  const place = figure.querySelector(".chart");
  const details = make("details", { className: "data" }, make("summary", { textContent: "Data table" }));
  details.addEventListener("toggle", async () => {
    if (!details.open || details.childElementCount > 1) return;
    await drawOnce(place);
    details.append(tableOf(place));
  });
  figure.append(details);
};

document.querySelectorAll("figure.panel").forEach(addTable);

// What is wider than its box says so; a box in a closed section is measured when that opens.
const hints = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const wide = target.scrollWidth > target.clientWidth + 1;
    const hint = target.previousElementSibling?.matches(".sideways") ? target.previousElementSibling : null;
    if (wide && !hint) target.before(make("p", { className: "sideways", textContent: "Scroll sideways for more →" }));
    if (!wide) hint?.remove();
  }
});
document.querySelectorAll(".scroll, pre").forEach((box) => hints.observe(box));
