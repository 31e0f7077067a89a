// Small charts of a line and its area. The same values are beside them in words, so they are hidden from screen readers.

import { el } from "../dom.js";

const WIDTH = 100, HEIGHT = 30;

/** A line over the values, the newest at the end; `capacity`: how many there can be, so that a short one begins at the right. */
export function chart(values, capacity) {
  const top = Math.max(...values, 1e-9);
  const at = (index) => ((capacity - values.length + index) / (capacity - 1)) * WIDTH;
  const points = values.map((value, index) => `${at(index).toFixed(2)} ${(HEIGHT - (value / top) * (HEIGHT - 2)).toFixed(2)}`);
  const line = points.length > 1 ? `M${points.join("L")}` : "";
  const area = line && `${line}L${WIDTH} ${HEIGHT}L${at(0).toFixed(2)} ${HEIGHT}Z`;
  return el("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", aria: { hidden: "true" } },
    el("path", { class: "ground", d: `M0 ${HEIGHT}H${WIDTH}` }), el("path", { class: "area", d: area }), el("path", { class: "line", d: line }));
}

/** The last values by name, at most `capacity` of each. */
export class Trends {
  constructor(capacity) {
    this.capacity = capacity;
    this.values = new Map();
  }

  add(name, value) {
    const known = this.values.get(name) ?? [];
    known.push(value);
    if (known.length > this.capacity) known.shift();
    this.values.set(name, known);
  }

  of(name) {
    return this.values.get(name) ?? [];
  }

  draw(name) {
    return chart(this.of(name), this.capacity);
  }
}
