// What a reader can choose: the curves of a legend, attack and epsilon, the axes of a group of charts, the theme.

const placesIn = (group) => [...group.querySelectorAll(".chart")];
const drawnIn = (group) => placesIn(group).filter((place) => views.has(place));

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

// -- pickers: of the figures of one attack or epsilon, which leave the others as they are, and of an axis

const showPicked = (group) => {
  const pickers = [...group.querySelectorAll("select[name]")].filter((picker) => picker.value !== "");
  const passes = (figure, { name, value }) => figure.dataset[name] === undefined || figure.dataset[name] === value;
  for (const figure of group.querySelectorAll("figure")) figure.hidden = !pickers.every((picker) => passes(figure, picker));
};

const onPick = (event) => {
  const picker = event.target;
  const group = groupOf(picker);
  if (picker.matches("select[name]")) showPicked(group);
  if (picker.matches("select[data-axis]")) {
    const linear = linearIn(group);
    if (picker.value === "linear") linear.add(picker.dataset.axis);
    else linear.delete(picker.dataset.axis);
    for (const place of drawnIn(group)) {
      if (logAxes(templateOf(place)).some(([words]) => words === picker.dataset.axis)) redraw(place);
    }
  }
};

// Each logarithmic axis of a group's charts can be made linear.
const addAxisPickers = (group) => {
  const words = new Set(placesIn(group).flatMap((place) => logAxes(templateOf(place)).map(([axis]) => axis)));
  const controls = group.querySelector(".controls");
  if (!controls) return;
  for (const axis of words) {
    const picker = make("select", {}, new Option("logarithmic", "log"), new Option("linear", "linear"));
    picker.dataset.axis = axis;
    controls.append(make("label", {}, `${axis} axis `, picker));
  }
  controls.hidden = controls.childElementCount === 0;
};

// -- theme: the reader's system decides until the button is pressed

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;
const themeButton = document.querySelector("button.theme");

const isDark = () => (root.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { themeButton.textContent = isDark() ? "☀ Light theme" : "☾ Dark theme"; };
const remember = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* a file may have no store */ } };
const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };

const setTheme = (theme) => {
  root.dataset.theme = theme;
  nameTheme();
};

if (["light", "dark"].includes(remembered())) setTheme(remembered());
nameTheme();
themeButton.hidden = false;
themeButton.addEventListener("click", () => { setTheme(isDark() ? "light" : "dark"); remember(root.dataset.theme); });
systemDark.addEventListener("change", nameTheme);

for (const group of document.querySelectorAll("[data-group]")) {
  showPicked(group);
  addAxisPickers(group);
}
document.addEventListener("click", onLegend);
document.addEventListener("change", onPick);
