// Streams, read models and services at a glance.

import { el, icon } from "../dom.js";
import { Trends } from "./charts.js";
import { Rates } from "./rates.js";
import { moment, number, percent, rate, say, size, span, word } from "./i18n.js";

// Samples kept of each line: three minutes of them.
const ROOM = 90;
const EVERY_MS = 2_000;
const GOOD = new Set(["live", "running", "serving"]), WAITING = new Set(["building", "returning", "interrupted", "paused", "partly", "not_ready"]);
// From so many seconds on a read model's lag is seen by people.
const LATE = 5;

export class Overview {
  static every = EVERY_MS;

  constructor(showError) {
    this.trends = new Trends(ROOM);
    this.last = null;
    this.live = el("div", {});
    this.rates = new Rates(showError);
    this.node = el("div", {}, this.live, this.rates.node);
  }

  async open() {
    this.rates.draw();
    await this.rates.tick();
  }

  async tick() {
    await this.rates.tick();
  }

  /** Takes a status in, also while another section is shown: the lines go on. */
  take(status) {
    status.reactions ??= [];
    const at = Date.parse(status.at);
    const seconds = this.last ? (at - Date.parse(this.last.at)) / 1000 : 0;
    if (seconds < 0.2 && this.last) return;
    let all = 0;
    for (const stream of status.streams) {
      const before = this.last?.streams.find((one) => one.name === stream.name);
      if (!before || !seconds) continue;
      const value = Math.max(0, stream.last_sequence - before.last_sequence) / seconds;
      all += value;
      this.trends.add(stream.name, value);
    }
    if (status.streams.length && seconds) this.trends.add("all", all);
    for (const one of status.projections) {
      const before = this.last?.projections.find((other) => other.name === one.name && other.build === one.build);
      if (before && seconds) this.trends.add(`${one.name} ${one.version} ${one.build}`, Math.max(0, moved(one) - moved(before)) / seconds);
    }
    for (const one of status.reactions) {
      const before = this.last?.reactions.find((other) => other.name === one.name);
      if (before && seconds) this.trends.add(`reaction ${one.name}`, Math.max(0, one.attempts - before.attempts) / seconds);
    }
    this.last = status;
  }

  draw() {
    const status = this.last;
    // What somebody is just selecting to copy stays.
    const selected = document.getSelection();
    if (!selected.isCollapsed && this.live.contains(selected.anchorNode)) return;
    if (!status) return void this.live.replaceChildren(el("p", { class: "blank", role: "status" }, "…"));
    this.live.replaceChildren(
      ...status.unreachable.map((one) => el("p", { class: "alarm", role: "alert" }, icon("warn"), say("unreachable", one))),
      ...(status.out_of_space ? [el("p", { class: "alarm", role: "alert" }, icon("warn"), say("out_of_space"))] : []),
      this.#tiles(status),
      el("h2", {}, say("streams")), el("div", { class: "streams" }, status.streams.map((one) => this.#stream(one))),
      el("h2", {}, say("read_models")), this.#projections(status.projections),
      ...(status.reactions.length ? [el("h2", {}, say("reactions")), this.#reactions(status.reactions)] : []),
      el("h2", {}, say("services")), el("ul", { class: "services" }, status.services.map((one) => el("li", { class: "service panel-wide" },
        el("span", { class: `dot ${kind(one.state)}` }), one.name, el("span", {}, word("s", one.state))))));
  }

  #tiles({ streams, projections, reactions }) {
    const rates = this.trends.of("all");
    const events = sum(streams, (one) => one.events), bytes = sum(streams, (one) => one.bytes);
    const failed = sum(projections, (one) => one.dead_letters.failed) + sum(reactions, (one) => one.parked), parked = sum(projections, (one) => one.dead_letters.parked);
    const live = projections.filter((one) => one.state === "live");
    const last = live.reduce((most, one) => ((one.lag ?? 0) > (most?.lag ?? 0) ? one : most), null);
    return el("dl", { class: "tiles" },
      tile(say("events_per_second"), [el("span", { class: "num" }, rate(rates.at(-1) ?? 0)), el("small", { class: "soft num" }, say("most", { n: Math.ceil(Math.max(0, ...rates)) }))],
        [this.trends.draw("all"), el("div", { class: "axis", aria: { hidden: "true" } }, el("span", {}, say("ago", { minutes: (ROOM * EVERY_MS) / 60_000 })), el("span", {}, say("now")))]),
      tile(say("stored"), el("span", { class: "num" }, number(events)), el("small", { class: "num" }, say("on_disk", { size: size(bytes) }))),
      tile(say("behind"), el("span", { class: "num" }, last ? number(last.lag) : "0"), el("small", {}, last ? say("behind_by", { name: last.name, seconds: number(last.lag_seconds ?? 0, 1) }) : say("nobody_behind")), (last?.lag_seconds ?? 0) >= LATE ? "late" : ""),
      tile(say("dead"), el("span", { class: "num" }, number(failed)), el("small", {}, parked ? say("waiting_too", { n: parked }) : failed ? "" : say("none_dead")), failed ? "bad" : ""));
  }

  #stream(one) {
    return el("section", { class: `stream panel-wide ${one.name.toLowerCase()}` },
      el("header", {}, el("span", { class: "dot" }), el("h3", {}, one.name), el("span", { class: "rate num" }, say("per_second", { rate: rate(this.trends.of(one.name).at(-1) ?? 0) }))),
      this.trends.draw(one.name),
      el("p", { class: "facts num" }, el("span", {}, el("b", {}, number(one.events)), ` ${say("stream_events")}`), el("span", {}, size(one.bytes))));
  }

  #projections(projections) {
    const heads = [["name"], ["state"], ["lag", "right"], ["rate", "right"], ["trend", "trend"], ["dead", "right"], ["size", "right"]];
    return el("div", { class: "panel-wide" }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, heads.map(([name, style]) => el("th", { scope: "col", class: style }, say(name))))),
      el("tbody", {}, projections.map((one) => [this.#projection(one), one.last_error && el("tr", { class: "note" },
        el("td", { colspan: 7, class: "whole" }, say("last_error", { when: moment(one.last_error.at), error: one.last_error.error })))]))));
  }

  #reactions(reactions) {
    const heads = [["name"], ["state"], ["lag", "right"], ["attempts_rate", "right"], ["trend", "trend"], ["waiting", "right"], ["parked", "right"]];
    return el("div", { class: "panel-wide" }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, heads.map(([name, style]) => el("th", { scope: "col", class: style }, say(name))))),
      el("tbody", {}, reactions.map((one) => this.#reaction(one)))));
  }

  #reaction(one) {
    return el("tr", {},
      el("td", { class: "whole" }, el("span", { class: "name" }, one.name)),
      el("td", { data: { name: say("state") } }, el("span", { class: `pill ${kind(one.state)}` }, word("s", one.state))),
      el("td", { class: "right num", data: { name: say("lag") } }, lag(one)),
      el("td", { class: "right num", data: { name: say("attempts_rate") } }, rate(one.attempts_per_second)),
      el("td", { class: "trend" }, this.trends.draw(`reaction ${one.name}`)),
      el("td", { class: "right num", data: { name: say("waiting") } }, number(one.waiting)),
      el("td", { class: "right num", data: { name: say("parked") } }, one.parked ? el("a", { class: "pill bad", href: "#/letters" }, number(one.parked)) : "0"));
  }

  #projection(one) {
    const { failed, parked } = one.dead_letters;
    return el("tr", {},
      el("td", { class: "whole" }, el("span", { class: "name" }, one.name), " ", el("small", {}, say("version", one))),
      el("td", { data: { name: say("state") } }, el("span", { class: `pill ${kind(one.state)}` }, word("s", one.state)), one.progress && progress(one)),
      el("td", { class: "right num", data: { name: say("lag") } }, lag(one)),
      el("td", { class: "right num", data: { name: say("rate") } }, rate(one.events_per_second)),
      el("td", { class: "trend" }, this.trends.draw(`${one.name} ${one.version} ${one.build}`)),
      el("td", { class: "right num", data: { name: say("dead") } }, failed ? el("a", { class: "pill bad", href: "#/letters" }, number(failed), parked ? ` + ${number(parked)}` : "") : "0"),
      el("td", { class: "right num", data: { name: say("size") } }, size(one.bytes)));
  }
}

function tile(name, big, small, style = "") {
  return el("div", { class: `tile panel-wide ${style}` }, el("dt", {}, name), el("dd", { class: "big" }, big), el("dd", {}, small));
}

/** By how many events a read model or a reaction is behind, and since when. */
function lag(one) {
  if (one.lag === null) return say("unknown");
  if (!one.lag) return say("lag_none");
  return el("span", { class: (one.lag_seconds ?? 0) >= LATE ? "pill wait" : "" }, `${say("lag_events", { n: one.lag })}, ${span(one.lag_seconds ?? 0)}`);
}

function progress({ progress: { fraction, seconds_left: left }, name }) {
  const done = percent(fraction);
  return el("div", {}, el("progress", { max: 1, value: fraction, aria: { label: name } }), el("small", { class: "num" }, left === null ? say("progress_open", { percent: done }) : say("progress", { percent: done, left: span(left) })));
}

export function kind(state) {
  return GOOD.has(state) ? "good" : WAITING.has(state) ? "wait" : "bad";
}

/** How far it has come, over all of its streams. */
function moved(projection) {
  return sum(Object.values(projection.position), (sequence) => sequence);
}

function sum(items, value) {
  return items.reduce((total, one) => total + value(one), 0);
}
