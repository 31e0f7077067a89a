// Dead letters: what could not be applied and why, tried again or given up with a reason.

import { get, post } from "../api.js";
import { el, icon } from "../dom.js";
import { json } from "./json.js";
import { moment, say, word } from "./i18n.js";

export class Letters {
  static every = 3_000;

  constructor(showError, note) {
    this.showError = showError;
    this.note = note;
    this.discarded = false;
    this.opened = new Map();
    this.state = "";
    this.choices = el("div", { class: "choices filters", role: "group", aria: { label: say("letters") } });
    this.list = el("div", { class: "letters" });
    this.node = el("div", {}, this.choices, this.list);
  }

  async open() {
    await this.tick();
  }

  async tick() {
    const asked = this.discarded;
    const found = await get(`/v1/ops/dead-letters?limit=200${asked ? "&discarded=true" : ""}`);
    if (asked !== this.discarded) return;
    this.found = found;
    const state = JSON.stringify(found);
    if (state === this.state) return;
    this.state = state;
    this.draw();
  }

  draw() {
    const buttons = [[false, "waiting_letters"], [true, "discarded_letters"]].map(([discarded, name]) =>
      el("button", { type: "button", aria: { pressed: String(discarded === this.discarded) }, onclick: () => this.#choose(discarded) }, say(name)));
    this.choices.replaceChildren(...buttons);
    const { items, more, missing } = this.found ?? { items: [], more: false, missing: "" };
    const blank = el("div", { class: "blank panel-wide" }, icon("check"), el("strong", {}, say(this.discarded ? "no_discards" : "no_letters")), this.discarded ? "" : say("no_letters_hint"));
    this.list.replaceChildren(...(items.length ? items.map((one) => this.#letter(one)) : missing ? [] : [blank]), missing ? el("p", { class: "why" }, say("missing_letters", { why: missing })) : "", more ? el("p", { class: "soft" }, say("more_letters")) : "");
  }

  #choose(discarded) {
    this.discarded = discarded;
    this.found = null;
    this.state = "";
    this.draw();
    this.choices.querySelector("[aria-pressed=true]").focus();
    this.tick().catch((error) => this.showError(error));
  }

  #letter(one) {
    const place = el("div", {}, this.opened.get(one.id) ?? []);
    const show = el("button", { type: "button", aria: { expanded: String(this.opened.has(one.id)) }, onclick: () => this.#show(one, place, show).catch((error) => this.showError(error)) }, say(this.opened.has(one.id) ? "hide_event" : "show_event"));
    const facts = [
      one.id, one.aggregate_id, one.row ? say("row_waits", { row: one.row }) : "", one.waiting ? say("behind_it", { n: one.waiting }) : "", one.attempts ? say("attempts", { n: one.attempts }) : "",
      one.tried_at ? say("last_tried", { when: moment(one.tried_at) }) : "", one.behind ? say("behind_letter", { id: one.behind }) : "",
    ];
    return el("article", { class: `letter panel-wide ${one.state}` },
      el("header", {}, el("h3", {}, one.type), el("span", { class: `pill ${one.state === "failed" ? "bad" : ""}` }, word("l", one.state)), el("span", { class: "soft" }, one.projection)),
      one.error && el("p", { class: "why" }, one.error),
      one.discard && el("p", {}, one.discard.reason, " ", el("small", {}, say("by", { name: one.discard.by, when: moment(one.discard.at) }))),
      el("p", { class: "facts" }, facts.filter(Boolean).map((fact) => el("span", {}, fact))),
      el("div", { class: "row-actions" }, show,
        one.state === "failed" && el("button", { type: "button", onclick: ({ target }) => this.#act(target, () => this.#retry(one)) }, say("retry")),
        ["failed", "retrying"].includes(one.state) && el("button", { type: "button", class: "danger", onclick: () => this.#ask(one) }, say("discard"))),
      place);
  }

  async #show(one, place, button) {
    if (this.opened.delete(one.id)) place.replaceChildren();
    else {
      const found = await get(`/v1/ops/dead-letter?id=${encodeURIComponent(one.id)}`);
      const shown = found.event ? json(found.event, one.type) : el("p", { class: "soft" }, found.event_error);
      this.opened.set(one.id, shown);
      place.replaceChildren(shown);
    }
    button.setAttribute("aria-expanded", String(this.opened.has(one.id)));
    button.textContent = say(this.opened.has(one.id) ? "hide_event" : "show_event");
  }

  async #retry(one) {
    const done = await post("/v1/ops/dead-letters/retry", { id: one.id });
    return () => this.#noteOutcome(done);
  }

  /** Does it, shows how things stand now, and only then says what came of it: nothing moves under a pointer later. */
  async #act(button, work) {
    button.disabled = true;
    let say = () => {};
    try {
      say = await work();
    } catch (error) {
      this.showError(error);
    }
    button.disabled = false;
    await this.tick().catch((error) => this.showError(error));
    say();
  }

  #noteOutcome(done) {
    if (done.outcome === "failed") return this.note(say("still", { why: done.reason }));
    if (done.outcome === "requested") return this.note(say("requested"));
    if (done.outcome === "discarded") return this.note(say("given_up"));
    if (done.outcome === "refused") return this.note(say("refused", { why: done.reason }));
    this.note(say("retried", { n: done.applied }));
  }

  #ask(one) {
    const reason = el("input", { id: "reason", name: "reason", required: true, maxlength: 1000, autocomplete: "off" });
    const go = el("button", { type: "submit", class: "primary" }, say("give_up"));
    const dialog = el("dialog", { aria: { labelledby: "discard-title" }, onclose: () => dialog.remove() },
      el("form", { onsubmit: (event) => {
        event.preventDefault();
        this.#act(go, async () => {
          const done = await post("/v1/ops/dead-letters/discard", { id: one.id, reason: reason.value });
          dialog.close();
          return () => (done.outcome === "applied" ? this.note(say("given_up")) : this.#noteOutcome(done));
        });
      } },
      el("h2", { id: "discard-title" }, say("discard_title")), el("p", {}, say(one.kind === "reaction" ? "discard_effect_hint" : "discard_hint", one)),
      el("div", { class: "field" }, el("label", { for: "reason" }, say("reason")), reason),
      el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, say("cancel")), go)));
    document.body.append(dialog);
    dialog.showModal();
  }
}
