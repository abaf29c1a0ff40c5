"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const list = element("cards");
  const cards = list ? [...list.children] : [];
  const slider = element("threshold");
  const scores = data.map((one) => one.score).filter((score) => score !== null);
  const lowest = scores.reduce((a, b) => Math.min(a, b), 1);
  const highest = scores.reduce((a, b) => Math.max(a, b), lowest);

  // The score of the best match, of the kernel that is chosen; null without a match.
  function scoreOf(one) {
    const kernel = element("kernel")?.value ?? "";
    return kernel === "" ? one.score : one.kernels[kernel] ?? null;
  }

  // At the left end of the slider pictures without a match are shown, too.
  function filter() {
    const text = element("name").value.trim().toLowerCase();
    const isOne = (element("kernel")?.value ?? "") !== "";
    const level = lowest + (highest - lowest) * slider.value / 1000;
    const isAny = +slider.value === 0;
    element("level").textContent = isAny ? "any" : level.toFixed(4);
    let count = 0;
    cards.forEach((card, i) => {
      const one = data[i];
      const score = scoreOf(one);
      const seen = (isAny || (score !== null && score >= level - 1e-12))
        && one.name.includes(text)
        && (!isOne || score !== null);
      card.classList.toggle("off", !seen);
      count += seen;
    });
    element("shown").textContent = `${count} of ${data.length} picture${data.length === 1 ? "" : "s"}`;
  }

  function sort() {
    const key = element("order").value;
    const down = key === "score" || key === "count";
    const value = (one) => key === "score" ? scoreOf(one) : one[key];
    const order = data.map((_, i) => i).sort((i, j) => {
      const [a, b] = [value(data[i]), value(data[j])];
      if (a === null || b === null) return (a === null) - (b === null) || data[i].number - data[j].number;
      return (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1) || data[i].number - data[j].number;
    });
    for (const i of order) list?.append(cards[i]);
  }

  for (const id of ["name", "threshold", "kernel"]) element(id)?.addEventListener("input", filter);
  for (const id of ["order", "kernel"]) element(id)?.addEventListener("change", sort);
  filter();
})();
