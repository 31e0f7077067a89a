// Who did what, and who looked at what, as an operator: through the page or the command line.

import { get } from "../api.js";
import { el, icon } from "../dom.js";
import { Period } from "./period.js";
import { moment, say, word } from "./i18n.js";

const PAGE = 100;
const NO_FILTER = { operator: "", action: "", only: "" };

export class Operators {
  static every = 4_000;

  constructor(tell) {
    this.tell = tell;
    this.filter = { ...NO_FILTER };
    this.period = new Period("operators", 604_800, () => this.#again());
    this.state = "";
    this.rows = [];
    this.filters = el("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); this.#again(); } });
    this.place = el("div", {});
    this.node = el("div", {}, this.filters, this.place);
    this.#drawFilters();
  }

  /** `asked`: the filters in a link, such as one operator; without any they stay as they are. */
  async open(asked) {
    if (asked.size) {
      history.replaceState(null, "", "#/operators");
      for (const name of Object.keys(NO_FILTER)) this.filter[name] = asked.get(name) ?? "";
      this.state = "";
      this.rows = [];
      this.#drawFilters();
    }
    await this.tick();
  }

  /** The newest page again; older ones that are shown stay where they are. */
  async tick() {
    const asked = this.#asked;
    const page = await get(`/v1/ops/operators?${this.#query()}`);
    const state = JSON.stringify(page);
    if (asked !== this.#asked || state === this.state) return;
    this.state = state;
    this.unreadable = page.unreadable > 0;
    const known = new Set(page.items.map(key)), last = page.items.at(-1);
    const index = last ? this.rows.findIndex((row) => key(row) === key(last)) : -1;
    if (index < 0) this.older = page.older;
    this.rows = [...page.items, ...(index < 0 ? [] : this.rows.slice(index + 1).filter((row) => !known.has(key(row))))];
    this.#drawRows();
  }

  async #more() {
    const before = this.older;
    const page = await get(`/v1/ops/operators?${this.#query({ before })}`);
    if (before !== this.older) return;
    this.older = page.older;
    const first = this.rows.length;
    this.rows.push(...page.items);
    this.#drawRows();
    this.place.querySelectorAll("tbody tr")[first]?.focus();
  }

  get #asked() {
    return JSON.stringify(this.filter) + this.period.chosen;
  }

  #query(more = {}) {
    const query = new URLSearchParams({ limit: PAGE, ...this.period.bounds(), ...more });
    for (const [name, value] of Object.entries(this.filter)) if (value) query.set(name, value);
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

  #choose(name, value) {
    this.filter[name] = value;
    this.#again();
  }

  #drawFilters() {
    const choice = (value, label) => el("option", { value, selected: this.filter.only === value }, say(label));
    this.filters.replaceChildren(
      el("div", { class: "field wide" }, el("label", { for: "operators-operator" }, say("operator")),
        el("input", { id: "operators-operator", type: "search", value: this.filter.operator, placeholder: say("operator_hint"), maxlength: 80, spellcheck: "false", autocomplete: "off", autocapitalize: "none",
          onchange: ({ target }) => this.#choose("operator", target.value.trim()) })),
      el("div", { class: "field" }, el("label", { for: "operators-only" }, say("acts_or_looks")),
        el("select", { id: "operators-only", onchange: ({ target }) => this.#choose("only", target.value) }, choice("", "all"), choice("acts", "only_acts"), choice("looks", "only_looks"))),
      this.period.node,
      this.filter.action ? el("button", { class: "quiet", type: "button", onclick: () => { this.filter.action = ""; this.#drawFilters(); this.#again(); } }, icon("close"), `${say("event")}: ${this.filter.action}`) : "");
  }

  #drawRows() {
    const heads = ["at", "operator", "event", "target", "reason", "address"];
    const table = el("div", { class: "panel-wide" }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, say(name))))),
      el("tbody", {}, this.rows.map((row) => el("tr", { tabindex: "-1", data: { key: key(row) } },
        el("td", { class: "num", data: { name: say("at") } }, el("time", { datetime: row.at }, moment(row.at))),
        el("td", { data: { name: say("operator") } }, el("span", { class: "name" }, row.operator), el("small", {}, ` ${say(`by_${row.channel}`)}`)),
        el("td", { data: { name: say("event") } }, this.#what(row)),
        el("td", { class: "mono", data: { name: say("target") } }, target(row)),
        el("td", { data: { name: say("reason") } }, [row.reason, row.error].filter(Boolean).join(" · ") || "–"),
        el("td", { class: "mono", data: { name: say("address") } }, row.address || "–"))))));
    const focused = document.activeElement?.closest?.("tr")?.dataset.key;
    this.place.replaceChildren(
      this.unreadable ? el("p", { class: "alarm" }, icon("warn"), say("not_whole")) : "",
      this.rows.length ? table : el("div", { class: "blank panel-wide" }, icon("shield"), el("strong", {}, say("no_operator_actions"))),
      this.older ? el("div", { class: "more" }, el("button", { type: "button", onclick: () => this.#more().catch((error) => this.tell(error)) }, say("older"))) : "");
    if (focused) [...this.place.querySelectorAll("tr")].find((row) => row.dataset.key === focused)?.focus({ preventScroll: true });
  }

  #what(row) {
    const name = row.action ?? row.what;
    const only = el("button", { class: "link", type: "button", title: name, onclick: () => { this.filter.action = name; this.#drawFilters(); this.#again(); } }, row.action ? word("act", name.replace(".", "_")) : say("looked_at", { what: word("look", name) }));
    if (!row.action) return only;
    const outcome = row.outcome ?? "open";
    return [only, " ", el("span", { class: `pill ${{ done: "good", failed: "bad" }[outcome] ?? ""}` }, word("outcome", outcome))];
  }
}

/** What one row is: an operator does one thing at a time. */
function key(row) {
  return `${row.at} ${row.operator} ${row.action ?? row.what} ${row.target}`;
}

function target(row) {
  const more = Object.entries(row.details ?? row.filter ?? {}).map(([name, value]) => `${name}=${value}`);
  return [row.target, ...more].filter(Boolean).join(" ") || "–";
}
