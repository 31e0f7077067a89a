// Reports of users and messages: read with every view recorded, and settled with a note.

import { get, post } from "../api.js";
import { el, icon } from "../dom.js";
import { moment, say, word } from "./i18n.js";

const PAGE = 50;

export class Reports {
  static pollMs = 5_000;

  constructor(showError, note) {
    this.showError = showError;
    this.note = note;
    this.settled = false;
    this.rows = [];
    this.opened = new Map();
    this.state = "";
    this.choices = el("div", { class: "choices filters", role: "group", aria: { label: say("reports") } });
    this.list = el("div", { class: "letters" });
    this.end = el("div", { class: "more" });
    this.node = el("div", {}, this.choices, this.list, this.end);
  }

  async open() {
    await this.tick();
  }

  /** The newest page again; older ones that are shown stay where they are. */
  async tick() {
    const settled = this.settled;
    const page = await get(`/v1/ops/reports?limit=${PAGE}${settled ? "&settled=true" : ""}`);
    const state = JSON.stringify(page);
    if (settled !== this.settled || state === this.state) return;
    this.state = state;
    const last = page.items.at(-1), index = last ? this.rows.findIndex((row) => row.report_id === last.report_id) : -1;
    if (index < 0) this.older = page.older;
    this.rows = [...page.items, ...(index < 0 ? [] : this.rows.slice(index + 1))];
    this.draw();
  }

  async #more() {
    const before = this.older;
    const page = await get(`/v1/ops/reports?${new URLSearchParams({ limit: PAGE, settled: String(this.settled), before })}`);
    if (before !== this.older) return;
    this.older = page.older;
    const first = this.rows.length;
    this.rows.push(...page.items);
    this.draw();
    this.list.children[first]?.querySelector("button")?.focus();
  }

  draw() {
    this.choices.replaceChildren(...[[false, "open_reports"], [true, "settled_reports"]].map(([settled, name]) =>
      el("button", { type: "button", aria: { pressed: String(settled === this.settled) }, onclick: () => this.#choose(settled) }, say(name))));
    const blank = el("div", { class: "blank panel-wide" }, icon("check"), el("strong", {}, say(this.settled ? "no_settled_reports" : "no_reports")));
    const focused = document.activeElement?.closest?.("article")?.dataset.id;
    const buttonIndex = [...(document.activeElement?.parentElement?.children ?? [])].indexOf(document.activeElement);
    this.list.replaceChildren(...(this.rows.length ? this.rows.map((row) => this.#report(row)) : this.state ? [blank] : []));
    this.end.replaceChildren(this.older ? el("button", { type: "button", onclick: () => this.#more().catch((error) => this.showError(error)) }, say("older")) : "");
    if (focused && !document.activeElement?.closest?.("article")) this.list.querySelector(`[data-id="${focused}"] .row-actions`)?.children[buttonIndex]?.focus();
  }

  #choose(settled) {
    this.settled = settled;
    this.rows = [];
    this.older = null;
    this.state = "";
    this.draw();
    this.choices.querySelector("[aria-pressed=true]").focus();
    this.tick().catch((error) => this.showError(error));
  }

  #report(row) {
    const texts = this.opened.get(row.report_id);
    const container = el("div", {}, texts ?? []);
    const show = el("button", { type: "button", aria: { expanded: String(Boolean(texts)) }, onclick: () => this.#show(row, container, show).catch((error) => this.showError(error)) }, say(texts ? "hide_texts" : "show_texts"));
    return el("article", { class: `letter report panel-wide ${row.settled_at ? "discarded" : ""}`, data: { id: row.report_id } },
      el("header", {}, el("h3", {}, word("reason", row.reason)),
        row.outcome && el("span", { class: `pill ${row.outcome === "upheld" ? "bad" : ""}` }, word("outcome", row.outcome)),
        el("span", { class: "soft" }, say("reported_messages", { n: row.messages }))),
      el("p", {}, say("reported_person"), " ", person(row.reported), " · ", say("reported_by"), " ", person(row.reporter)),
      el("p", { class: "facts" },
        el("span", {}, el("time", { datetime: row.filed_at }, moment(row.filed_at))),
        row.settled_at && el("span", {}, say("settled_by", { name: row.settled_by ?? "–", when: moment(row.settled_at) })),
        el("span", {}, row.report_id)),
      el("div", { class: "row-actions" }, show, !row.settled_at && el("button", { type: "button", class: "primary", onclick: () => this.#openSettleDialog(row) }, say("settle"))),
      container);
  }

  async #show(row, container, button) {
    if (this.opened.delete(row.report_id)) container.replaceChildren();
    else {
      const texts = reportTexts(await get(`/v1/ops/report?id=${row.report_id}`), row);
      this.opened.set(row.report_id, texts);
      container.replaceChildren(texts);
    }
    button.setAttribute("aria-expanded", String(this.opened.has(row.report_id)));
    button.textContent = say(this.opened.has(row.report_id) ? "hide_texts" : "show_texts");
  }

  #openSettleDialog(row) {
    const note = el("textarea", { id: "report-note", name: "note", rows: 3, maxlength: 1000 });
    const submitButton = el("button", { type: "submit", class: "primary" }, say("settle_now"));
    const outcomes = ["upheld", "dismissed"].map((outcome, index) =>
      el("label", { class: "check" }, el("input", { type: "radio", name: "outcome", value: outcome, required: true, autofocus: !index }), say(`outcome_${outcome}`)));
    const dialog = el("dialog", { aria: { labelledby: "settle-title" }, onclose: () => dialog.remove() },
      el("form", { onsubmit: (event) => {
        event.preventDefault();
        this.#settle(submitButton, dialog, { id: row.report_id, outcome: new FormData(event.target).get("outcome"), note: note.value.trim() });
      } },
      el("h2", { id: "settle-title" }, say("settle_title")), el("p", {}, say("settle_hint")),
      el("fieldset", { class: "outcomes" }, el("legend", {}, say("outcome")), outcomes),
      el("div", { class: "field" }, el("label", { for: "report-note" }, say("report_note")), note),
      el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, say("cancel")), submitButton)));
    document.body.append(dialog);
    dialog.showModal();
  }

  async #settle(button, dialog, decision) {
    button.disabled = true;
    try {
      await post("/v1/ops/reports/settle", decision);
      dialog.close();
      this.opened.delete(decision.id);
      this.rows = this.rows.filter((row) => row.report_id !== decision.id);
      this.draw();
      this.note(say("report_settled"));
    } catch (error) {
      if (error.code !== "report_settled") this.showError(error);
      else {
        dialog.close();
        this.note(say("e_settled"));
      }
    }
    button.disabled = false;
    await this.tick().catch((error) => this.showError(error));
  }
}

function person({ user_id, username }) {
  return el("a", { href: `#/lookup?q=${encodeURIComponent(username ?? user_id)}` }, username ?? user_id);
}

/** The reported texts, who wrote each, and what the reporter and the operator said of them. */
function reportTexts(texts, row) {
  if (texts.expired_at) return el("div", {}, el("p", { class: "soft" }, say("texts_expired", { when: moment(texts.expired_at) })), remark("report_note", texts.note));
  const writer = (id) => (id === row.reported.user_id ? row.reported : row.reporter);
  const messages = texts.messages.map((message) => el("li", { class: message.sender_id === row.reported.user_id ? "theirs" : "" },
    el("p", { class: "facts" }, el("b", {}, writer(message.sender_id).username ?? message.sender_id), el("time", { datetime: message.sent_at }, moment(message.sent_at)), el("span", {}, say("message_number", { n: message.sequence }))),
    message.text ? el("blockquote", {}, message.text) : el("p", { class: "soft" }, say("text_deleted"))));
  return el("div", {}, remark("report_comment", texts.comment), messages.length ? el("ol", { class: "texts" }, messages) : el("p", { class: "soft" }, say("no_texts")), remark("report_note", texts.note), el("p", { class: "soft" }, say("view_recorded")));
}

function remark(key, text) {
  return text && el("div", { class: "said-of" }, el("small", { class: "soft" }, say(key)), el("blockquote", {}, text));
}
