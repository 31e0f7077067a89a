// The events of the streams: the newest first, followed as they come, and back into the past on request.

import { get } from "../api.js";
import { el, icon } from "../dom.js";
import { json } from "./json.js";
import { Period } from "./period.js";
import { moment, say } from "./i18n.js";

// Types by stream, as contracts have them; a test compares.
export const TYPES = {
  AUTH: ["user.created", "user.email_verified", "user.erasure_requested", "user.erasure_cancelled", "user.erased", "user.erasure_completed", "credential.set", "credential.rehashed", "password.changed", "password.voided", "password.reset_requested", "login.failed", "email.registration_requested", "email.verification_mail_requested", "email.registration_ended", "email.verified", "email.claimed", "email.change_requested", "email.replaced", "email.restored", "email.released", "email.verification_requested", "username.claimed", "username.confirmed", "username.released", "totp.begun", "totp.confirmed", "totp.used", "recovery_code.used", "totp.removed", "data_export.requested", "data_export.made", "data_export.failed", "data_export.downloaded", "data_keys.created", "data_keys.destroyed", "data_keys.hold_placed", "data_keys.hold_released", "mail.sent", "mail.not_due", "auth.events_lost"],
  SESSION: ["session.created", "session.refreshed", "session.revoked", "account.alerted", "session.events_lost"],
  PROFILE: ["profile.created", "profile.updated", "profile.events_lost"],
  CONTACT: ["friendship.created", "friendship.accepted", "friendship.removed", "friendship.blocked", "friendship.unblocked", "report.filed", "report.viewed", "report.settled", "report.expired", "contact.events_lost"],
  MESSAGING: ["message.sent", "message.edited", "message.deleted", "message.seen", "reaction.changed", "conversation.updated", "notification.read", "messaging.events_lost"],
  OPERATOR: ["operator.acted", "operator.action_ended", "operator.looked", "dead_letter.discarded", "projection.begun", "operator.events_lost"],
  NOTARY: ["tree_head.signed", "tree.closed", "notary.events_lost"],
};
const PAGE = 50, MOST = 500;

export class Events {
  static pollMs = 1_000;

  constructor(showError) {
    this.showError = showError;
    this.filter = { stream: "", type: "", aggregate_id: "" };
    this.period = new Period("event", 0, () => this.#reload().catch((error) => this.showError(error)));
    this.rows = new Map();
    this.requests = 0;
    this.list = el("ol", { class: "events panel-wide", hidden: true });
    this.end = el("div", { class: "more" });
    this.note = el("p", { class: "soft", role: "status" });
    this.filters = el("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); this.#reload(); } });
    this.node = el("div", {}, this.filters, this.list, this.note, this.end);
    this.#drawFilters();
  }

  /** `params`: the filters in a link, such as one aggregate; without any they stay as they are. */
  async open(params) {
    if (!params.size) return this.#reload();
    history.replaceState(null, "", "#/events");
    this.filter = { stream: params.get("stream") ?? "", type: params.get("type") ?? "", aggregate_id: params.get("aggregate_id") ?? "" };
    this.#drawFilters();
    await this.#reload();
  }

  /** Adds the events since the last request. */
  async tick() {
    if (!this.newer) return;
    const request = this.requests;
    const page = await get(`/v1/ops/events?${this.#query({ limit: 200, after: this.newer })}`);
    if (request !== this.requests) return;
    this.newer = page.newer;
    if (page.skipped) this.note.textContent = say("skipped", { n: page.skipped });
    for (const event of page.items.reverse()) {
      if (this.rows.has(event.id)) continue;
      const row = this.#row(event, true);
      this.list.prepend(row);
      this.rows.set(event.id, row);
    }
    this.#trim();
    this.#drawEnd();
  }

  draw() {
    this.period.draw();
    this.#drawFilters();
    this.#reload().catch((error) => this.showError(error));
  }

  async #reload() {
    const request = (this.requests += 1);
    const page = await get(`/v1/ops/events?${this.#query({ limit: PAGE })}`);
    if (request !== this.requests) return;
    this.rows.clear();
    this.list.replaceChildren();
    this.note.textContent = page.unreadable ? say("unreadable", { n: page.unreadable }) : "";
    this.newer = page.newer;
    this.#append(page);
  }

  async #more() {
    const request = this.requests;
    const page = await get(`/v1/ops/events?${this.#query({ limit: PAGE, before: this.older })}`);
    if (request === this.requests) this.#append(page);
  }

  #append(page) {
    this.older = page.older;
    for (const event of page.items) {
      if (this.rows.has(event.id)) continue;
      const row = this.#row(event, false);
      this.list.append(row);
      this.rows.set(event.id, row);
    }
    this.#drawEnd();
  }

  #drawEnd() {
    this.list.hidden = !this.rows.size;
    this.end.replaceChildren(
      this.older ? el("button", { type: "button", onclick: () => this.#more().catch((error) => this.showError(error)) }, say("older"))
        : this.rows.size ? el("p", { class: "soft" }, say("no_more")) : el("div", { class: "blank" }, icon("search"), el("strong", {}, say("no_events"))));
  }

  /** Removes the oldest rows over the maximum; a row that has the focus stays. */
  #trim() {
    while (this.rows.size > MOST) {
      const last = this.list.lastElementChild;
      if (last.contains(document.activeElement)) return;
      last.remove();
      this.rows.delete(last.dataset.id);
      this.older = null;
    }
  }

  #row(event, fresh) {
    const id = `event-${event.id}`;
    const detail = el("div", { class: "detail", id, hidden: true });
    const button = el("button", { class: "event", type: "button", aria: { expanded: "false", controls: id }, onclick: () => {
      detail.hidden = !detail.hidden;
      button.setAttribute("aria-expanded", String(!detail.hidden));
      if (!detail.childElementCount) this.#fillDetail(detail, event);
    } },
    el("time", { class: "num", datetime: event.at }, moment(event.at)),
    el("span", { class: "where" }, el("span", { class: "dot" }), event.stream),
    el("span", { class: "what" }, event.type),
    el("span", { class: "which mono" }, event.aggregate_id),
    el("span", { class: "seq num" }, `#${event.sequence}`));
    return el("li", { class: `${event.stream.toLowerCase()} ${fresh ? "fresh" : ""}`, data: { id: event.id } }, button, detail);
  }

  #fillDetail(detail, event) {
    detail.append(json(event, event.type),
      el("p", { class: "soft" }, event.data === null ? say("private") : say("masked")),
      el("div", { class: "row-actions" },
        el("button", { type: "button", onclick: () => this.#only(event) }, say("only_this")),
        el("a", { class: "button", href: `#/lookup?${new URLSearchParams({ q: `${event.stream}:${event.sequence}` })}` }, say("trace")),
        el("button", { type: "button", onclick: async ({ target }) => {
          await navigator.clipboard?.writeText(JSON.stringify(event)).then(() => { target.textContent = say("copied"); }, () => {});
        } }, say("copy"))));
  }

  #only(event) {
    this.filter = { stream: event.stream, type: "", aggregate_id: event.aggregate_id };
    this.draw();
  }

  #query(more) {
    return new URLSearchParams(Object.entries({ ...this.filter, ...this.period.bounds(), ...more }).filter(([, value]) => value));
  }

  #choose(stream) {
    this.filter.stream = stream;
    if (stream && !TYPES[stream].includes(this.filter.type)) this.filter.type = "";
    this.draw();
    this.filters.querySelector("[aria-pressed=true]")?.focus();
  }

  #drawFilters() {
    const { stream, type, aggregate_id: aggregate } = this.filter;
    const types = Object.entries(TYPES).filter(([name]) => !stream || name === stream);
    this.filters.replaceChildren(
      el("div", { class: "choices", role: "group", aria: { label: say("stream") } }, ["", ...Object.keys(TYPES)].map((name) =>
        el("button", { type: "button", class: name.toLowerCase(), aria: { pressed: String(name === stream) }, onclick: () => this.#choose(name) }, name && el("span", { class: "dot" }), name || say("all")))),
      el("div", { class: "field" }, el("label", { for: "event-type" }, say("type")),
        el("select", { id: "event-type", onchange: ({ target }) => { this.filter.type = target.value; this.draw(); } },
          el("option", { value: "" }, say("every_type")),
          types.map(([name, own]) => el("optgroup", { label: name }, own.map((option) => el("option", { value: option, selected: option === type }, option)))))),
      el("div", { class: "field wide" }, el("label", { for: "event-aggregate" }, say("aggregate")),
        el("input", { id: "event-aggregate", type: "search", value: aggregate, placeholder: say("aggregate_hint"), maxlength: 128, spellcheck: "false", autocomplete: "off",
          onchange: ({ target }) => { this.filter.aggregate_id = target.value.trim(); this.#reload().catch((error) => this.showError(error)); } })),
      this.period.node);
  }
}
