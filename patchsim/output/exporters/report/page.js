"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = (id) => document.getElementById(id);
  const view = element("view");
  const boxes = new Map([...document.querySelectorAll(".box")].map((g) => [+g.dataset.number, g]));
  const lines = new Map(
    [...document.querySelectorAll("#matches tbody tr")].map((row) => [+row.dataset.number, row]));

  // The part of the image that is seen. A label keeps its size on the screen.
  let part = { x: 0, y: 0, width: data.width, height: data.height };
  const pixelsPerUnit = () => view.getBoundingClientRect().width / part.width || 1;
  function look() {
    view.setAttribute("viewBox", `${part.x} ${part.y} ${part.width} ${part.height}`);
    const size = 14 / Math.min(pixelsPerUnit(), view.getBoundingClientRect().height / part.height || 1);
    for (const label of view.querySelectorAll(".box text")) {
      label.style.fontSize = `${size}px`;
      label.style.strokeWidth = `${size / 4}px`;
    }
  }
  function zoom(factor, x, y) {
    const width = Math.min(data.width * 4, Math.max(8, part.width * factor));
    const real = width / part.width;
    part = { x: x - (x - part.x) * real, y: y - (y - part.y) * real,
             width, height: part.height * real };
    look();
  }
  function place(event) {
    const point = new DOMPoint(event.clientX, event.clientY);
    return point.matrixTransform(view.getScreenCTM().inverse());
  }
  const middle = () => [part.x + part.width / 2, part.y + part.height / 2];
  function fit() {
    part = { x: 0, y: 0, width: data.width, height: data.height };
    look();
  }
  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = place(event);
    zoom(Math.exp(event.deltaY / 400), at.x, at.y);
  }, { passive: false });

  // Dragging with one pointer, pinching with two.
  const pointers = new Map();
  let moved = false;
  view.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    moved = false;
  });
  view.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const from = place(before), to = place(event);
    if (pointers.size === 1) {
      if (Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY) < 3 && !moved) return;
      if (!moved) view.setPointerCapture(event.pointerId);
      moved = true;
      part = { ...part, x: part.x + from.x - to.x, y: part.y + from.y - to.y };
      look();
    } else if (pointers.size === 2) {
      const [other] = [...pointers.values()].filter((one) => one.pointerId !== event.pointerId);
      const distance = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      const fixed = place(other);
      moved = true;
      zoom(distance(before) / distance(event), fixed.x, fixed.y);
    }
    pointers.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    view.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  view.addEventListener("keydown", (event) => {
    const step = part.width / 10;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      part = { ...part, x: part.x + moves[event.key][0], y: part.y + moves[event.key][1] };
      look();
    } else if (event.key === "+" || event.key === "=") zoom(0.8, ...middle());
    else if (event.key === "-") zoom(1.25, ...middle());
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
  });
  element("nearer").addEventListener("click", () => zoom(0.8, ...middle()));
  element("farther").addEventListener("click", () => zoom(1.25, ...middle()));
  element("fit").addEventListener("click", fit);

  // The threshold, from that of the search to the best score: boxes and rows below it are hidden.
  const scores = data.rows.map((row) => row.score);
  const lowest = scores.reduce((a, b) => Math.min(a, b), data.threshold ?? 1), highest = scores.reduce((a, b) => Math.max(a, b), lowest);
  const slider = element("threshold"), cut = element("cut"), chart = element("histogram");
  function threshold() {
    const level = lowest + (highest - lowest) * slider.value / 1000;
    element("level").textContent = level.toFixed(4);
    let count = 0;
    for (const row of data.rows) {
      // The ends of the slider are scores themselves, which rounding must not lose.
      const seen = row.score >= level - 1e-12;
      count += seen;
      boxes.get(row.number)?.classList.toggle("off", !seen);
      lines.get(row.number)?.classList.toggle("off", !seen);
    }
    element("shown").textContent = `${count} of ${data.rows.length} matches`;
    if (cut) {
      const low = +chart.dataset.low, high = +chart.dataset.high;
      const x = 800 * Math.min(1, Math.max(0, (level - low) / (high - low)));
      cut.setAttribute("x1", x);
      cut.setAttribute("x2", x);
    }
  }
  slider.addEventListener("input", threshold);

  const layers = [...document.querySelectorAll(".heat")], opacity = element("opacity"), layer = element("layer");
  function heat() {
    layers.forEach((image, i) =>
      image.setAttribute("opacity", i === +(layer?.value ?? 0) ? opacity.value / 100 : 0));
  }
  opacity?.addEventListener("input", heat);
  layer?.addEventListener("change", heat);

  // A row lights up its box, and a box its row.
  let chosen = null;
  function light(number, isOn) {
    boxes.get(number)?.classList.toggle("on", isOn);
    lines.get(number)?.classList.toggle("on", isOn);
    lines.get(number)?.querySelector(".pick").setAttribute("aria-pressed", isOn);
    if (isOn && boxes.has(number)) boxes.get(number).parentNode.append(boxes.get(number));
  }
  function choose(number) {
    if (chosen !== null) light(chosen, false);
    chosen = chosen === number ? null : number;
    if (chosen !== null) light(chosen, true);
  }
  for (const [number, row] of lines) {
    row.addEventListener("click", () => choose(number));
    row.addEventListener("mouseenter", () => boxes.get(number)?.classList.add("on"));
    row.addEventListener("mouseleave", () =>
      boxes.get(number)?.classList.toggle("on", number === chosen));
  }
  for (const [number, box] of boxes) {
    box.addEventListener("click", () => {
      if (moved) return;
      choose(number);
      lines.get(number)?.scrollIntoView({ block: "nearest" });
    });
  }

  // A click on a heading sorts by its column, a second one the other way round.
  for (const button of document.querySelectorAll("#matches th button")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th"), column = +button.dataset.column;
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of document.querySelectorAll("#matches th")) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => (column < 0 ? row.number : row.values[column]);
      const sorted = [...data.rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        if (a === null || b === null) return (a === null) - (b === null);
        return (a < b ? -1 : a > b ? 1 : one.number - other.number) * (down && a !== b ? -1 : 1);
      });
      const body = document.querySelector("#matches tbody");
      for (const row of sorted) body.append(lines.get(row.number));
    });
  }

  addEventListener("resize", look);
  look();
  threshold();
})();
