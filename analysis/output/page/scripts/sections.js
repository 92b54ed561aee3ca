// Links into folded sections open them, paper gets what was run; then the charts begin to be drawn.

const open = (target) => {
  for (let element = target; element; element = element.parentElement) {
    if (element.tagName === "DETAILS") element.open = true;
  }
};

const follow = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  open(target);
  target.scrollIntoView();
};

window.addEventListener("hashchange", follow);

let folded = [];
window.addEventListener("beforeprint", () => {
  letGo();
  folded = [...document.querySelectorAll("details:not([open]):not(.data, .claim, .absent)")];
  folded.forEach((details) => { details.open = true; });
  for (const place of places()) {
    if (jobs.has(place) || place.closest(".absent, [hidden]")) continue;
    nearby.unobserve(place);
    drawOnce(place);
  }
});
window.addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));

follow();
places().forEach((place) => nearby.observe(place));
if (places().length === 0) document.documentElement.dataset.drawn = "yes";
