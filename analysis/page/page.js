"use strict";
// Draws the charts of the page's data block, those in closed sections when they are opened.
(() => {
  const { config, templates, data, charts } = JSON.parse(document.getElementById("charts").textContent);
  const chosen = new Map(); // group of figures -> epsilon
  const views = new Map(); // chart's place -> its Vega view
  const visible = (place) => place.offsetParent !== null && !views.has(place);

  // A data set is stored as runs of rows that share their fields.
  const records = (runs) => runs.flatMap(({ fields, rows }) =>
    rows.map((row) => Object.fromEntries(fields.map((field, place) => [field, row[place]]))));

  const specification = (chart) => {
    const sets = Object.entries(chart.data).map(([name, key]) => [name, records(data[key])]);
    return { ...templates[chart.template], datasets: Object.fromEntries(sets) };
  };

  const setEpsilon = (place, view) => {
    const group = place.closest("[data-group]");
    if (!group || !chosen.has(group)) return undefined;
    try {
      return view.signal("epsilon", chosen.get(group)).runAsync();
    } catch {
      return undefined; // a chart without the parameter: it does not depend on epsilon
    }
  };

  const draw = async (place) => {
    views.set(place, null);
    const spec = specification(charts[place.dataset.chart]);
    const result = await vegaEmbed(place, spec, { mode: "vega-lite", renderer: "svg", actions: false, config });
    views.set(place, result.view);
    await setEpsilon(place, result.view);
  };

  const drawVisible = async () => {
    for (const place of document.querySelectorAll(".chart")) {
      if (visible(place)) await draw(place);
    }
    document.documentElement.dataset.drawn = "yes";
  };

  for (const picker of document.querySelectorAll("select[data-epsilon]")) {
    picker.addEventListener("change", () => {
      const group = picker.closest("[data-group]");
      chosen.set(group, Number(picker.value));
      for (const place of group.querySelectorAll(".chart")) {
        if (views.get(place)) setEpsilon(place, views.get(place));
      }
    });
  }
  const open = (target) => {
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  };
  for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", drawVisible);
  const follow = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target) { open(target); target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", follow);
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  drawVisible().then(follow);
})();
