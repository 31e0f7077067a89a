// Small charts out of two lines each. They say nothing that does not stand beside them in words, so they are for the
// eye alone.

import { el } from "../dom.js";

const WIDTH = 100, HEIGHT = 30;

/** A line over the values, the newest at the end; `room`: how many there can be, so that a short one begins at the right. */
export function chart(values, room) {
  const top = Math.max(...values, 1e-9);
  const at = (place) => ((room - values.length + place) / (room - 1)) * WIDTH;
  const points = values.map((value, place) => `${at(place).toFixed(2)} ${(HEIGHT - (value / top) * (HEIGHT - 2)).toFixed(2)}`);
  const line = points.length > 1 ? `M${points.join("L")}` : "";
  const area = line && `${line}L${WIDTH} ${HEIGHT}L${at(0).toFixed(2)} ${HEIGHT}Z`;
  return el("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", aria: { hidden: "true" } },
    el("path", { class: "ground", d: `M0 ${HEIGHT}H${WIDTH}` }), el("path", { class: "area", d: area }), el("path", { class: "line", d: line }));
}

/** The last values of many names, each so many at most. */
export class Trends {
  constructor(room) {
    this.room = room;
    this.values = new Map();
  }

  add(name, value) {
    const known = this.values.get(name) ?? [];
    known.push(value);
    if (known.length > this.room) known.shift();
    this.values.set(name, known);
  }

  of(name) {
    return this.values.get(name) ?? [];
  }

  draw(name) {
    return chart(this.of(name), this.room);
  }
}
