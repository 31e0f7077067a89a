// Streams, read models and services at a glance.

import { el, icon } from "../dom.js";
import { Trends } from "./charts.js";
import { Rates } from "./rates.js";
import { moment, number, percent, rate, say, size, span, word } from "./i18n.js";

// Samples kept of each line: three minutes of them.
const ROOM = 90;
const EVERY_MS = 2_000;
const GOOD = new Set(["live", "running", "serving"]), WAITING = new Set(["building", "returning", "interrupted", "paused", "partly", "not_ready"]);
// Seconds of a read model's lag that users notice.
const LATE = 5;

export class Overview {
  static pollMs = EVERY_MS;

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

  /** Adds a status to the charts, also while another section is shown. */
  setStatus(status) {
    status.reactions ??= [];
    const at = Date.parse(status.at);
    const seconds = this.last ? (at - Date.parse(this.last.at)) / 1000 : 0;
    if (seconds < 0.2 && this.last) return;
    let all = 0;
    for (const stream of status.streams) {
      const before = this.last?.streams.find((other) => other.name === stream.name);
      if (!before || !seconds) continue;
      const value = Math.max(0, stream.last_sequence - before.last_sequence) / seconds;
      all += value;
      this.trends.add(stream.name, value);
    }
    if (status.streams.length && seconds) this.trends.add("all", all);
    for (const projection of status.projections) {
      const before = this.last?.projections.find((other) => other.name === projection.name && other.build === projection.build);
      if (before && seconds) this.trends.add(`${projection.name} ${projection.version} ${projection.build}`, Math.max(0, positionSum(projection) - positionSum(before)) / seconds);
    }
    for (const reaction of status.reactions) {
      const before = this.last?.reactions.find((other) => other.name === reaction.name);
      if (before && seconds) this.trends.add(`reaction ${reaction.name}`, Math.max(0, reaction.attempts - before.attempts) / seconds);
    }
    this.last = status;
  }

  draw() {
    const status = this.last;
    // A text that is being selected to copy stays.
    const selected = document.getSelection();
    if (!selected.isCollapsed && this.live.contains(selected.anchorNode)) return;
    if (!status) return void this.live.replaceChildren(el("p", { class: "blank", role: "status" }, "…"));
    this.live.replaceChildren(
      ...status.unreachable.map((part) => el("p", { class: "alarm", role: "alert" }, icon("warn"), say("unreachable", part))),
      ...(status.out_of_space ? [el("p", { class: "alarm", role: "alert" }, icon("warn"), say("out_of_space"))] : []),
      this.#tiles(status),
      el("h2", {}, say("streams")), el("div", { class: "streams" }, status.streams.map((stream) => this.#stream(stream))),
      el("h2", {}, say("read_models")), this.#projections(status.projections),
      ...(status.reactions.length ? [el("h2", {}, say("reactions")), this.#reactions(status.reactions)] : []),
      el("h2", {}, say("services")), el("ul", { class: "services" }, status.services.map((service) => el("li", { class: "service panel-wide" },
        el("span", { class: `dot ${severity(service.state)}` }), service.name, el("span", {}, word("s", service.state))))));
  }

  #tiles({ streams, projections, reactions }) {
    const rates = this.trends.of("all");
    const events = sum(streams, (stream) => stream.events), bytes = sum(streams, (stream) => stream.bytes);
    const failed = sum(projections, (projection) => projection.dead_letters.failed) + sum(reactions, (reaction) => reaction.parked), parked = sum(projections, (projection) => projection.dead_letters.parked);
    const live = projections.filter((projection) => projection.state === "live");
    const last = live.reduce((most, projection) => ((projection.lag ?? 0) > (most?.lag ?? 0) ? projection : most), null);
    return el("dl", { class: "tiles" },
      tile(say("events_per_second"), [el("span", { class: "num" }, rate(rates.at(-1) ?? 0)), el("small", { class: "soft num" }, say("most", { n: Math.ceil(Math.max(0, ...rates)) }))],
        [this.trends.draw("all"), el("div", { class: "axis", aria: { hidden: "true" } }, el("span", {}, say("ago", { minutes: (ROOM * EVERY_MS) / 60_000 })), el("span", {}, say("now")))]),
      tile(say("stored"), el("span", { class: "num" }, number(events)), el("small", { class: "num" }, say("on_disk", { size: size(bytes) }))),
      tile(say("behind"), el("span", { class: "num" }, last ? number(last.lag) : "0"), el("small", {}, last ? say("behind_by", { name: last.name, seconds: number(last.lag_seconds ?? 0, 1) }) : say("nobody_behind")), (last?.lag_seconds ?? 0) >= LATE ? "late" : ""),
      tile(say("dead"), el("span", { class: "num" }, number(failed)), el("small", {}, parked ? say("waiting_too", { n: parked }) : failed ? "" : say("none_dead")), failed ? "bad" : ""));
  }

  #stream(stream) {
    return el("section", { class: `stream panel-wide ${stream.name.toLowerCase()}` },
      el("header", {}, el("span", { class: "dot" }), el("h3", {}, stream.name), el("span", { class: "rate num" }, say("per_second", { rate: rate(this.trends.of(stream.name).at(-1) ?? 0) }))),
      this.trends.draw(stream.name),
      el("p", { class: "facts num" }, el("span", {}, el("b", {}, number(stream.events)), ` ${say("stream_events")}`), el("span", {}, size(stream.bytes))));
  }

  #projections(projections) {
    const heads = [["name"], ["state"], ["lag", "right"], ["rate", "right"], ["trend", "trend"], ["dead", "right"], ["size", "right"]];
    return el("div", { class: "panel-wide" }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, heads.map(([name, style]) => el("th", { scope: "col", class: style }, say(name))))),
      el("tbody", {}, projections.map((projection) => [this.#projection(projection), projection.last_error && el("tr", { class: "note" },
        el("td", { colspan: 7, class: "whole" }, say("last_error", { when: moment(projection.last_error.at), error: projection.last_error.error })))]))));
  }

  #reactions(reactions) {
    const heads = [["name"], ["state"], ["lag", "right"], ["attempts_rate", "right"], ["trend", "trend"], ["waiting", "right"], ["parked", "right"]];
    return el("div", { class: "panel-wide" }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, heads.map(([name, style]) => el("th", { scope: "col", class: style }, say(name))))),
      el("tbody", {}, reactions.map((reaction) => this.#reaction(reaction)))));
  }

  #reaction(reaction) {
    return el("tr", {},
      el("td", { class: "whole" }, el("span", { class: "name" }, reaction.name)),
      el("td", { data: { name: say("state") } }, el("span", { class: `pill ${severity(reaction.state)}` }, word("s", reaction.state))),
      el("td", { class: "right num", data: { name: say("lag") } }, lag(reaction)),
      el("td", { class: "right num", data: { name: say("attempts_rate") } }, rate(reaction.attempts_per_second)),
      el("td", { class: "trend" }, this.trends.draw(`reaction ${reaction.name}`)),
      el("td", { class: "right num", data: { name: say("waiting") } }, number(reaction.waiting)),
      el("td", { class: "right num", data: { name: say("parked") } }, reaction.parked ? el("a", { class: "pill bad", href: "#/letters" }, number(reaction.parked)) : "0"));
  }

  #projection(projection) {
    const { failed, parked } = projection.dead_letters;
    return el("tr", {},
      el("td", { class: "whole" }, el("span", { class: "name" }, projection.name), " ", el("small", {}, say("version", projection))),
      el("td", { data: { name: say("state") } }, el("span", { class: `pill ${severity(projection.state)}` }, word("s", projection.state)), projection.progress && progress(projection)),
      el("td", { class: "right num", data: { name: say("lag") } }, lag(projection)),
      el("td", { class: "right num", data: { name: say("rate") } }, rate(projection.events_per_second)),
      el("td", { class: "trend" }, this.trends.draw(`${projection.name} ${projection.version} ${projection.build}`)),
      el("td", { class: "right num", data: { name: say("dead") } }, failed ? el("a", { class: "pill bad", href: "#/letters" }, number(failed), parked ? ` + ${number(parked)}` : "") : "0"),
      el("td", { class: "right num", data: { name: say("size") } }, size(projection.bytes)));
  }
}

function tile(name, big, small, style = "") {
  return el("div", { class: `tile panel-wide ${style}` }, el("dt", {}, name), el("dd", { class: "big" }, big), el("dd", {}, small));
}

/** By how many events a read model or a reaction is behind, and since when. */
function lag(consumer) {
  if (consumer.lag === null) return say("unknown");
  if (!consumer.lag) return say("lag_none");
  return el("span", { class: (consumer.lag_seconds ?? 0) >= LATE ? "pill wait" : "" }, `${say("lag_events", { n: consumer.lag })}, ${span(consumer.lag_seconds ?? 0)}`);
}

function progress({ progress: { fraction, seconds_left: left }, name }) {
  const done = percent(fraction);
  return el("div", {}, el("progress", { max: 1, value: fraction, aria: { label: name } }), el("small", { class: "num" }, left === null ? say("progress_open", { percent: done }) : say("progress", { percent: done, left: span(left) })));
}

export function severity(state) {
  return GOOD.has(state) ? "good" : WAITING.has(state) ? "wait" : "bad";
}

/** The sum of its positions in all of its streams. */
function positionSum(projection) {
  return sum(Object.values(projection.position), (sequence) => sequence);
}

function sum(items, value) {
  return items.reduce((total, item) => total + value(item), 0);
}
