// What the rules of anomalies have found: the newest first, with links to the person, to their logins, and to what an operator did.

import { el } from "../../dom.js";
import { moment, number, say, word } from "../i18n.js";
import { AuditList } from "./audit_list.js";

const RULES = ["account_failures", "address_failures", "new_network", "operator_looks", "operator_exports"];

export class Anomalies extends AuditList {
  static pollMs = 10_000;

  constructor(showError) {
    super(showError, {
      section: "anomalies", path: "/v1/ops/anomalies", period: 604_800, filter: { rule: "" },
      heads: ["at", "rule", "whom", "address", "count", "more"], empty: ["check", "no_anomalies"],
    });
  }

  drawFilters() {
    this.filters.replaceChildren(
      el("div", { class: "field" }, el("label", { for: "anomaly-rule" }, say("rule")),
        el("select", { id: "anomaly-rule", onchange: ({ target }) => this.choose("rule", target.value) },
          el("option", { value: "", selected: !this.filter.rule }, say("every_rule")),
          RULES.map((rule) => el("option", { value: rule, selected: rule === this.filter.rule }, word("rule", rule))))),
      this.period.node);
  }

  row(row) {
    return [
      el("td", { class: "num", data: { name: say("at") } }, el("time", { datetime: row.at, title: say("since", { when: moment(row.since) }) }, moment(row.at))),
      el("td", { data: { name: say("rule") } }, el("span", { class: "pill bad" }, word("rule", row.rule)), row.reason ? ` ${word("r", row.reason)}` : ""),
      el("td", { data: { name: say("whom") } }, whom(row)),
      el("td", { class: "mono", data: { name: say("address") } }, row.address ?? "–"),
      el("td", { class: "num", data: { name: say("count") } }, number(row.count)),
      el("td", { data: { name: say("more") } }, more(row)),
    ];
  }

  /** Identifies an entry: what stays the same of an anomaly while its hour goes on. */
  key(row) {
    return [row.rule, row.since, row.user_id, row.address, row.operator, row.operator_id].join(" ");
  }
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
