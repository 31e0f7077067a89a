// Events per stream over the last day or week: a line each for the eye, and a table of the same values.

import { get } from "../api.js";
import { el } from "../dom.js";
import { locale } from "../i18n.js";
import { chart } from "./charts.js";
import { number, say, span } from "./i18n.js";

const SPANS = ["day", "week"];
const FRESH_MS = 60_000;

export class Rates {
  constructor(showError) {
    this.showError = showError;
    this.span = "day";
    this.askedAt = 0;
    this.rates = null;
    this.choices = el("div", { class: "choices", role: "group", aria: { label: say("over_hours") } });
    this.lines = el("div", { class: "streams" });
    this.values = el("details", { class: "values panel-wide" });
    this.head = el("h2", {});
    this.node = el("section", { class: "rates" }, this.head, this.choices, this.lines, this.values);
    this.draw();
  }

  /** Asks again once a minute. */
  async tick() {
    if (Date.now() - this.askedAt < FRESH_MS) return;
    const { span: wanted } = this;
    this.askedAt = Date.now();
    const rates = await get(`/v1/ops/rates?span=${wanted}`).catch((error) => {
      this.askedAt = 0;
      throw error;
    });
    if (wanted !== this.span) return;
    this.rates = rates;
    this.#drawRates();
  }

  draw() {
    this.head.textContent = say("over_hours");
    this.choices.setAttribute("aria-label", say("over_hours"));
    this.choices.replaceChildren(...SPANS.map((name) => el("button", { type: "button", aria: { pressed: String(name === this.span) }, onclick: () => {
      this.span = name;
      this.askedAt = 0;
      this.draw();
      this.choices.querySelector("[aria-pressed=true]").focus();
      this.tick().catch((error) => this.showError(error));
    } }, say(`last_${name}`))));
    if (this.rates) this.#drawRates();
  }

  #drawRates() {
    const { streams, steps, step_seconds: seconds } = this.rates;
    this.lines.replaceChildren(...streams.map((stream) => el("section", { class: `stream panel-wide ${stream.name.toLowerCase()}` },
      el("header", {}, el("span", { class: "dot" }), el("h3", {}, stream.name)),
      chart(stream.events, stream.events.length),
      el("p", { class: "facts num" }, el("span", {}, el("b", {}, number(total(stream.events))), ` ${say("stream_events")}`), el("span", {}, say("most_in", { n: Math.max(...stream.events), span: span(seconds) }))))));
    const rows = steps.map((at, index) => el("tr", {}, el("th", { scope: "row" }, el("time", { datetime: at }, beginning(at))), streams.map((stream) => el("td", { class: "num" }, number(stream.events[index]))))).reverse();
    const open = this.values.open;
    this.values.replaceChildren(el("summary", {}, say("as_table")),
      el("div", { class: "scrolled", tabindex: "0", role: "region", aria: { label: say("as_table") } }, el("table", {},
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, say("from_time", { span: span(seconds) })), streams.map((stream) => el("th", { scope: "col" }, stream.name)))),
        el("tbody", {}, rows))));
    this.values.open = open;
  }
}

function total(values) {
  return values.reduce((sum, value) => sum + value, 0);
}

function beginning(at) {
  return new Date(at).toLocaleString(locale(), { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}
