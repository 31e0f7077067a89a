// Who logged in or failed to, from where, and when and why each session ended; an operator can end one.

import { post } from "../../api.js";
import { el } from "../../dom.js";
import { aggregateLink } from "../aggregate.js";
import { moment, number, say, word } from "../i18n.js";
import { AuditList } from "./audit_list.js";

const LONGEST_REASON = 200;
const NO_FILTER = { user: "", address: "", device: "", reason: "", session: "", refreshes: false, failures: false };
const ENDS = ["account_erased", "erasure_requested", "expired", "logout", "not_me", "operator", "password_changed", "password_reset", "refresh_token_reused", "revoked_elsewhere"];
const FAILURES = ["code_required", "email_not_verified", "rate_limited", "unknown_login", "wrong_code", "wrong_password"];
const ENDED = new Set(["session.expired", "session.revoked"]);

export class Logins extends AuditList {
  constructor(showError, note) {
    super(showError, {
      section: "logins", path: "/v1/ops/session-events", period: 86_400, filter: NO_FILTER,
      heads: ["at", "event", "user", "device", "address", "session"], empty: ["people", "no_logins"],
    });
    this.note = note;
  }

  drawFilters() {
    const open = this.filters.querySelector("details")?.open || ["address", "device", "reason", "session"].some((name) => this.filter[name]);
    const field = (name, label, hint, longest, wide = "") => el("div", { class: `field ${wide}` }, el("label", { for: `login-${name}` }, say(label)),
      el("input", { id: `login-${name}`, type: "search", value: this.filter[name], placeholder: hint ? say(hint) : "", maxlength: longest, spellcheck: "false", autocomplete: "off", autocapitalize: "none",
        onchange: ({ target }) => this.choose(name, target.value.trim()) }));
    const check = (name) => el("label", { class: "check" }, el("input", { type: "checkbox", checked: this.filter[name], onchange: ({ target }) => this.choose(name, target.checked) }), say(name));
    const option = (reason) => el("option", { value: reason, selected: this.filter.reason === reason }, reason ? word("r", reason) : say("any_reason"));
    const reasons = el("div", { class: "field" }, el("label", { for: "login-reason" }, say("reason")),
      el("select", { id: "login-reason", onchange: ({ target }) => this.#chooseReason(target.value) }, ["", ...ENDS, ...FAILURES].map(option)));
    this.filters.replaceChildren(
      field("user", "user", "user_hint", 64, "wide"), this.period.node, check("failures"), check("refreshes"),
      el("details", { class: "more-filters", open }, el("summary", {}, say("more_filters")),
        el("div", { class: "filters" }, field("address", "address", "address_hint", 64), field("device", "device", "device_hint", 100), reasons, field("session", "session", "session_hint", 36))));
  }

  /** Reasons of failed logins are found only where failed logins are shown. */
  #chooseReason(reason) {
    if (FAILURES.includes(reason) && !this.filter.failures) {
      this.filter.failures = true;
      this.filter.reason = reason;
      this.drawFilters();
      this.filters.querySelector("#login-reason").focus();
    }
    this.choose("reason", reason);
  }

  row(row) {
    return [
      el("td", { class: "num", data: { name: say("at") } }, el("time", { datetime: row.at }, moment(row.at))),
      el("td", { data: { name: say("event") } }, what(row)),
      el("td", { data: { name: say("user") } }, el("span", { class: "name" }, row.user_id ? row.username ?? row.user_id : say("no_account"))),
      el("td", { data: { name: say("device") } }, row.device || "–"),
      el("td", { class: "mono", data: { name: say("address") } }, row.address || "–"),
      el("td", { class: "acts", data: { name: say("session") } }, row.session_id ? this.#session(row) : "–"),
    ];
  }

  /** Identifies an entry: of a session, or of an account's failed logins, nothing happens twice at a time in the same way. */
  key(row) {
    return [row.at, row.event, row.session_id ?? row.user_id, row.reason, row.count, row.address].join(" ");
  }

  #session(row) {
    const ended = this.rows.some((other) => other.session_id === row.session_id && ENDED.has(other.event));
    const link = el("span", { class: "mono", title: row.session_id }, aggregateLink("session", row.session_id, 0, `…${row.session_id.slice(-8)}`));
    return [link, ended ? "" : el("button", { type: "button", class: "quiet", aria: { label: say("end_session_of", { name: row.username, when: moment(row.at) }) }, onclick: () => this.#openEndDialog(row) }, say("end_session"))];
  }

  #openEndDialog(row) {
    const reason = el("input", { id: "end-reason", name: "reason", required: true, maxlength: LONGEST_REASON, autocomplete: "off" });
    const submitButton = el("button", { type: "submit", class: "primary" }, say("end_session_now"));
    const dialog = el("dialog", { aria: { labelledby: "end-title" }, onclose: () => dialog.remove() },
      el("form", { onsubmit: (event) => {
        event.preventDefault();
        this.#end(submitButton, dialog, { session_id: row.session_id, reason: reason.value });
      } },
      el("h2", { id: "end-title" }, say("end_session_title", { name: row.username })),
      el("p", {}, say("end_session_hint")),
      el("p", { class: "soft" }, [row.device, row.address, moment(row.at)].filter(Boolean).join(" · ")),
      el("div", { class: "field" }, el("label", { for: "end-reason" }, say("reason")), reason),
      el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, say("cancel")), submitButton)));
    document.body.append(dialog);
    dialog.showModal();
  }

  async #end(button, dialog, end) {
    button.disabled = true;
    try {
      await post("/v1/ops/sessions/end", end);
      dialog.close();
      this.note(say("session_ended"));
    } catch (error) {
      if (error.code === "session_not_found") {
        dialog.close();
        this.note(say("already_ended"));
      } else this.showError(error);
    }
    button.disabled = false;
    await this.tick().catch((error) => this.showError(error));
  }
}

function what(row) {
  if (row.event === "session.created") return [el("span", { class: "pill good" }, say("logged_in")), " ", row.new_device && el("span", { class: "pill wait" }, say("new_device")), " ", row.second_factor && el("span", { class: "pill" }, say("second_factor"))];
  if (row.event === "session.refreshed") return el("span", { class: "pill" }, say("refreshed"));
  if (row.event === "login.failed") return [el("span", { class: "pill bad" }, say("login_failed", { why: word("r", row.reason) })), row.count > 1 ? ` ×${number(row.count)}` : ""];
  const suspicious = row.reason === "refresh_token_reused" || row.reason?.startsWith("operator");
  return el("span", { class: `pill ${suspicious ? "bad" : ""}` }, word("r", row.reason ?? "ended"));
}
