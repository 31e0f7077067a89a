// What the rules of anomalies have found: the newest first, with links to the person, to their logins, and to what an operator did.

import { get } from "../api.js";
import { el, icon } from "../dom.js";
import { Period } from "./period.js";
import { moment, number, say, word } from "./i18n.js";

const PAGE = 100;
const RULES = ["account_failures", "address_failures", "new_network", "operator_looks", "operator_exports"];

export class Anomalies {
  static every = 10_000;

  constructor(tell) {
    this.tell = tell;
    this.rule = "";
    this.period = new Period("anomaly", 604_800, () => this.#again());
    this.state = "";
    this.rows = [];
    this.filters = el("form", { class: "filters", onsubmit: (event) => event.preventDefault() });
    this.place = el("div", {});
    this.node = el("div", {}, this.filters, this.place);
    this.#drawFilters();
  }

  async open() {
    await this.tick();
  }

  /** The newest page again; older ones that are shown stay where they are. */
  async tick() {
    const asked = this.#asked;
    const page = await get(`/v1/ops/anomalies?${this.#query()}`);
    const state = JSON.stringify(page);
    if (asked !== this.#asked || state === this.state) return;
    this.state = state;
    const known = new Set(page.items.map(key)), last = page.items.at(-1);
    const index = last ? this.rows.findIndex((row) => key(row) === key(last)) : -1;
    if (index < 0) this.older = page.older;
    this.rows = [...page.items, ...(index < 0 ? [] : this.rows.slice(index + 1).filter((row) => !known.has(key(row))))];
    this.#drawRows();
  }

  async #more() {
    const before = this.older;
    const page = await get(`/v1/ops/anomalies?${this.#query({ before })}`);
    if (before !== this.older) return;
    this.older = page.older;
    const first = this.rows.length;
    this.rows.push(...page.items);
    this.#drawRows();
    this.place.querySelectorAll("tbody tr")[first]?.focus();
  }

  get #asked() {
    return this.rule + this.period.chosen;
  }

  #query(more = {}) {
    const query = new URLSearchParams({ limit: PAGE, ...this.period.bounds(), ...more });
    if (this.rule) query.set("rule", this.rule);
    return query;
  }

  draw() {
    this.period.draw();
    this.#drawFilters();
    if (this.state) this.#drawRows();
  }

  #again() {
    this.state = "";
    this.rows = [];
    this.older = null;
    this.tick().catch((error) => this.tell(error));
  }

  #drawFilters() {
    this.filters.replaceChildren(
      el("div", { class: "field" }, el("label", { for: "anomaly-rule" }, say("rule")),
        el("select", { id: "anomaly-rule", onchange: ({ target }) => { this.rule = target.value; this.#again(); } },
          el("option", { value: "", selected: !this.rule }, say("every_rule")),
          RULES.map((rule) => el("option", { value: rule, selected: rule === this.rule }, word("rule", rule))))),
      this.period.node);
  }

  #drawRows() {
    const heads = ["at", "rule", "whom", "address", "count", "more"];
    const table = el("div", { class: "panel-wide" }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, say(name))))),
      el("tbody", {}, this.rows.map((row) => el("tr", { tabindex: "-1" },
        el("td", { class: "num", data: { name: say("at") } }, el("time", { datetime: row.at, title: say("since", { when: moment(row.since) }) }, moment(row.at))),
        el("td", { data: { name: say("rule") } }, el("span", { class: "pill bad" }, word("rule", row.rule)), row.reason ? ` ${word("r", row.reason)}` : ""),
        el("td", { data: { name: say("whom") } }, whom(row)),
        el("td", { class: "mono", data: { name: say("address") } }, row.address ?? "–"),
        el("td", { class: "num", data: { name: say("count") } }, number(row.count)),
        el("td", { data: { name: say("more") } }, more(row)))))));
    this.place.replaceChildren(
      this.rows.length ? table : el("div", { class: "blank panel-wide" }, icon("check"), el("strong", {}, say("no_anomalies"))),
      this.older ? el("div", { class: "more" }, el("button", { type: "button", onclick: () => this.#more().catch((error) => this.tell(error)) }, say("older"))) : "");
  }
}

/** What stays the same of an anomaly while its hour goes on. */
function key(row) {
  return [row.rule, row.since, row.user_id, row.address, row.operator, row.operator_id].join(" ");
}

function whom(row) {
  const id = row.user_id ?? row.operator_id, name = row.username ?? row.operator ?? id ?? "–";
  return id ? el("a", { class: "name", href: `#/lookup?${new URLSearchParams({ q: id })}` }, name) : el("span", { class: "name" }, name);
}

/** A link to what an operator did, or to the logins of an account or address. */
function more(row) {
  const link = (section, filter) => el("a", { href: `#/${section}?${new URLSearchParams(filter)}` }, say(section));
  if (row.operator) return link("operators", { operator: row.operator_id ?? row.operator });
  if (row.user_id) return link("logins", { user: row.user_id, failures: "true" });
  return row.address ? link("logins", { address: row.address, failures: "true" }) : "–";
}
