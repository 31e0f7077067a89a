// Who did what, and who looked at what, as an operator: through the page or the command line.

import { el, icon } from "../../dom.js";
import { moment, say, word } from "../i18n.js";
import { AuditList } from "./audit_list.js";

const NO_FILTER = { operator: "", action: "", only: "" };

export class Operators extends AuditList {
  constructor(showError) {
    super(showError, {
      section: "operators", path: "/v1/ops/operators", period: 604_800, filter: NO_FILTER,
      heads: ["at", "operator", "event", "target", "reason", "address"], empty: ["shield", "no_operator_actions"],
    });
  }

  drawFilters() {
    const choice = (value, label) => el("option", { value, selected: this.filter.only === value }, say(label));
    this.filters.replaceChildren(
      el("div", { class: "field wide" }, el("label", { for: "operators-operator" }, say("operator")),
        el("input", { id: "operators-operator", type: "search", value: this.filter.operator, placeholder: say("operator_hint"), maxlength: 80, spellcheck: "false", autocomplete: "off", autocapitalize: "none",
          onchange: ({ target }) => this.choose("operator", target.value.trim()) })),
      el("div", { class: "field" }, el("label", { for: "operators-only" }, say("acts_or_looks")),
        el("select", { id: "operators-only", onchange: ({ target }) => this.choose("only", target.value) }, choice("", "all"), choice("acts", "only_acts"), choice("looks", "only_looks"))),
      this.period.node,
      this.filter.action ? el("button", { class: "quiet", type: "button", onclick: () => { this.filter.action = ""; this.drawFilters(); this.reset(); } }, icon("close"), `${say("event")}: ${this.filter.action}`) : "");
  }

  row(row) {
    return [
      el("td", { class: "num", data: { name: say("at") } }, el("time", { datetime: row.at }, moment(row.at))),
      el("td", { data: { name: say("operator") } }, el("span", { class: "name" }, row.operator), el("small", {}, ` ${say(`by_${row.channel}`)}`)),
      el("td", { data: { name: say("event") } }, this.#what(row)),
      el("td", { class: "mono", data: { name: say("target") } }, target(row)),
      el("td", { data: { name: say("reason") } }, [row.reason, row.error].filter(Boolean).join(" · ") || "–"),
      el("td", { class: "mono", data: { name: say("address") } }, row.address || "–"),
    ];
  }

  /** Identifies an entry: an operator does one thing at a time. */
  key(row) {
    return `${row.at} ${row.operator} ${row.action ?? row.what} ${row.target}`;
  }

  #what(row) {
    const name = row.action ?? row.what;
    const only = el("button", { class: "link", type: "button", title: name, onclick: () => { this.filter.action = name; this.drawFilters(); this.reset(); } }, row.action ? word("act", name.replace(".", "_")) : say("looked_at", { what: word("look", name) }));
    if (!row.action) return only;
    const outcome = row.outcome ?? "open";
    return [only, " ", el("span", { class: `pill ${{ done: "good", failed: "bad" }[outcome] ?? ""}` }, word("outcome", outcome))];
  }
}

function target(row) {
  const more = Object.entries(row.details ?? row.filter ?? {}).map(([name, value]) => `${name}=${value}`);
  return [row.target, ...more].filter(Boolean).join(" ") || "–";
}
