// Dead letters: what could not be applied and why, tried again or given up with a reason.

import { get, post } from "../api.js";
import { el, icon } from "../dom.js";
import { json } from "./json.js";
import { moment, say, word } from "./i18n.js";

export class DeadLetters {
  static pollMs = 3_000;

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
    const discarded = this.discarded;
    const page = await get(`/v1/ops/dead-letters?limit=200${discarded ? "&discarded=true" : ""}`);
    if (discarded !== this.discarded) return;
    this.page = page;
    const state = JSON.stringify(page);
    if (state === this.state) return;
    this.state = state;
    this.draw();
  }

  draw() {
    const buttons = [[false, "waiting_letters"], [true, "discarded_letters"]].map(([discarded, name]) =>
      el("button", { type: "button", aria: { pressed: String(discarded === this.discarded) }, onclick: () => this.#choose(discarded) }, say(name)));
    this.choices.replaceChildren(...buttons);
    const { items, more, missing } = this.page ?? { items: [], more: false, missing: "" };
    const blank = el("div", { class: "blank panel-wide" }, icon("check"), el("strong", {}, say(this.discarded ? "no_discards" : "no_letters")), this.discarded ? "" : say("no_letters_hint"));
    this.list.replaceChildren(...(items.length ? items.map((deadLetter) => this.#article(deadLetter)) : missing ? [] : [blank]), missing ? el("p", { class: "why" }, say("missing_letters", { why: missing })) : "", more ? el("p", { class: "soft" }, say("more_letters")) : "");
  }

  #choose(discarded) {
    this.discarded = discarded;
    this.page = null;
    this.state = "";
    this.draw();
    this.choices.querySelector("[aria-pressed=true]").focus();
    this.tick().catch((error) => this.showError(error));
  }

  #article(deadLetter) {
    const container = el("div", {}, this.opened.get(deadLetter.id) ?? []);
    const show = el("button", { type: "button", aria: { expanded: String(this.opened.has(deadLetter.id)) }, onclick: () => this.#show(deadLetter, container, show).catch((error) => this.showError(error)) }, say(this.opened.has(deadLetter.id) ? "hide_event" : "show_event"));
    const facts = [
      deadLetter.id, deadLetter.aggregate_id, deadLetter.row ? say("row_waits", { row: deadLetter.row }) : "", deadLetter.waiting ? say("behind_it", { n: deadLetter.waiting }) : "", deadLetter.attempts ? say("attempts", { n: deadLetter.attempts }) : "",
      deadLetter.tried_at ? say("last_tried", { when: moment(deadLetter.tried_at) }) : "", deadLetter.behind ? say("behind_letter", { id: deadLetter.behind }) : "",
    ];
    return el("article", { class: `letter panel-wide ${deadLetter.state}` },
      el("header", {}, el("h3", {}, deadLetter.type), el("span", { class: `pill ${deadLetter.state === "failed" ? "bad" : ""}` }, word("l", deadLetter.state)), el("span", { class: "soft" }, deadLetter.projection)),
      deadLetter.error && el("p", { class: "why" }, deadLetter.error),
      deadLetter.discard && el("p", {}, deadLetter.discard.reason, " ", el("small", {}, say("by", { name: deadLetter.discard.by, when: moment(deadLetter.discard.at) }))),
      el("p", { class: "facts" }, facts.filter(Boolean).map((fact) => el("span", {}, fact))),
      el("div", { class: "row-actions" }, show,
        deadLetter.state === "failed" && el("button", { type: "button", onclick: ({ target }) => this.#act(target, () => this.#retry(deadLetter)) }, say("retry")),
        ["failed", "retrying"].includes(deadLetter.state) && el("button", { type: "button", class: "danger", onclick: () => this.#openDiscardDialog(deadLetter) }, say("discard"))),
      container);
  }

  async #show(deadLetter, container, button) {
    if (this.opened.delete(deadLetter.id)) container.replaceChildren();
    else {
      const details = await get(`/v1/ops/dead-letter?id=${encodeURIComponent(deadLetter.id)}`);
      const shown = details.event ? json(details.event, deadLetter.type) : el("p", { class: "soft" }, details.event_error);
      this.opened.set(deadLetter.id, shown);
      container.replaceChildren(shown);
    }
    button.setAttribute("aria-expanded", String(this.opened.has(deadLetter.id)));
    button.textContent = say(this.opened.has(deadLetter.id) ? "hide_event" : "show_event");
  }

  async #retry(deadLetter) {
    const result = await post("/v1/ops/dead-letters/retry", { id: deadLetter.id });
    return () => this.#noteOutcome(result);
  }

  /** Runs an action, draws the list again, and only then shows the outcome, so that nothing moves under the pointer later. */
  async #act(button, work) {
    button.disabled = true;
    let showOutcome = () => {};
    try {
      showOutcome = await work();
    } catch (error) {
      this.showError(error);
    }
    button.disabled = false;
    await this.tick().catch((error) => this.showError(error));
    showOutcome();
  }

  #noteOutcome(result) {
    if (result.outcome === "failed") return this.note(say("still", { why: result.reason }));
    if (result.outcome === "requested") return this.note(say("requested"));
    if (result.outcome === "discarded") return this.note(say("given_up"));
    if (result.outcome === "refused") return this.note(say("refused", { why: result.reason }));
    this.note(say("retried", { n: result.applied }));
  }

  #openDiscardDialog(deadLetter) {
    const reason = el("input", { id: "reason", name: "reason", required: true, maxlength: 1000, autocomplete: "off" });
    const submitButton = el("button", { type: "submit", class: "primary" }, say("give_up"));
    const dialog = el("dialog", { aria: { labelledby: "discard-title" }, onclose: () => dialog.remove() },
      el("form", { onsubmit: (event) => {
        event.preventDefault();
        this.#act(submitButton, async () => {
          const result = await post("/v1/ops/dead-letters/discard", { id: deadLetter.id, reason: reason.value });
          dialog.close();
          return () => (result.outcome === "applied" ? this.note(say("given_up")) : this.#noteOutcome(result));
        });
      } },
      el("h2", { id: "discard-title" }, say("discard_title")), el("p", {}, say(deadLetter.kind === "reaction" ? "discard_effect_hint" : "discard_hint", deadLetter)),
      el("div", { class: "field" }, el("label", { for: "reason" }, say("reason")), reason),
      el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, say("cancel")), submitButton)));
    document.body.append(dialog);
    dialog.showModal();
  }
}
