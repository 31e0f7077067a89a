// The base of the lists that auditors read: filters and a period above, the newest entries first, older ones on request.

import { get } from "../../api.js";
import { el, icon } from "../../dom.js";
import { say } from "../i18n.js";
import { Period } from "../period.js";

const PAGE = 100;

/** A subclass draws `drawFilters()` and `row(entry)`, and says by `key(entry)` which entries are the same. */
export class AuditList {
  static pollMs = 4_000;

  /**
   * `section`: its name in the page's address. `path`: of its entries at the gateway. `period`: the seconds that it
   * shows at first. `filter`: each filter with the value that does not filter. `heads`: of the columns. `empty`: the
   * icon and the text of a list without entries.
   */
  constructor(showError, { section, path, period, filter, heads, empty }) {
    this.showError = showError;
    this.section = section;
    this.path = path;
    this.noFilter = filter;
    this.filter = { ...filter };
    this.heads = heads;
    this.empty = empty;
    this.period = new Period(section, period, () => this.reset());
    this.state = "";
    this.rows = [];
    this.filters = el("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); this.reset(); } });
    this.container = el("div", {});
    this.node = el("div", {}, this.filters, this.container);
    this.drawFilters();
  }

  /** `params`: the filters in a link, such as one user; without any they stay as they are. */
  async open(params) {
    if (params.size) {
      history.replaceState(null, "", `#/${this.section}`);
      const valueOf = (name, unset) => (unset === false ? params.get(name) === "true" : params.get(name) ?? unset);
      this.filter = Object.fromEntries(Object.entries(this.noFilter).map(([name, unset]) => [name, valueOf(name, unset)]));
      this.state = "";
      this.rows = [];
      this.drawFilters();
    }
    await this.tick();
  }

  /** The newest page again; older ones that are shown stay where they are. */
  async tick() {
    const selection = this.#selection;
    const page = await get(`${this.path}?${this.#query()}`);
    const state = JSON.stringify(page);
    if (selection !== this.#selection || state === this.state) return;
    this.state = state;
    // A count, or whether there are any.
    this.unreadable = Boolean(page.unreadable);
    const known = new Set(page.items.map((entry) => this.key(entry))), last = page.items.at(-1);
    const index = last ? this.rows.findIndex((row) => this.key(row) === this.key(last)) : -1;
    if (index < 0) this.older = page.older;
    this.rows = [...page.items, ...(index < 0 ? [] : this.rows.slice(index + 1).filter((row) => !known.has(this.key(row))))];
    this.#drawRows();
  }

  draw() {
    this.period.draw();
    this.drawFilters();
    if (this.state) this.#drawRows();
  }

  choose(name, value) {
    this.filter[name] = value;
    this.reset();
  }

  /** Forgets the entries, and loads those of the present filter. */
  reset() {
    this.state = "";
    this.rows = [];
    this.older = null;
    this.tick().catch((error) => this.showError(error));
  }

  async #more() {
    const before = this.older;
    const page = await get(`${this.path}?${this.#query({ before })}`);
    if (before !== this.older) return;
    this.older = page.older;
    const first = this.rows.length;
    this.rows.push(...page.items);
    this.#drawRows();
    this.container.querySelectorAll("tbody tr")[first]?.focus();
  }

  get #selection() {
    return JSON.stringify(this.filter) + this.period.chosen;
  }

  #query(more = {}) {
    const query = new URLSearchParams({ limit: PAGE, ...this.period.bounds(), ...more });
    for (const [name, value] of Object.entries(this.filter)) if (value) query.set(name, String(value));
    return query;
  }

  #drawRows() {
    const table = el("div", { class: "panel-wide" }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, this.heads.map((name) => el("th", { scope: "col" }, say(name))))),
      el("tbody", {}, this.rows.map((row) => el("tr", { tabindex: "-1", data: { key: this.key(row) } }, this.row(row))))));
    const [picture, text] = this.empty;
    const focused = document.activeElement?.closest?.("tr")?.dataset.key;
    this.container.replaceChildren(
      this.unreadable ? el("p", { class: "alarm" }, icon("warn"), say("not_whole")) : "",
      this.rows.length ? table : el("div", { class: "blank panel-wide" }, icon(picture), el("strong", {}, say(text))),
      this.older ? el("div", { class: "more" }, el("button", { type: "button", onclick: () => this.#more().catch((error) => this.showError(error)) }, say("older"))) : "");
    if (focused && !document.activeElement?.closest?.("tr")) this.#focus(focused);
  }

  /** The first control of an entry, or the entry. */
  #focus(key) {
    const row = this.container.querySelector(`tr[data-key="${CSS.escape(key)}"]`);
    (row?.querySelector(":is(button, a)") ?? row)?.focus({ preventScroll: true });
  }
}
