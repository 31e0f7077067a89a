// Read models verified, rebuilt and controlled: what runs now with its progress, and what came of the last ones.

import { get, post } from "../api.js";
import { el } from "../dom.js";
import { severity } from "./overview.js";
import { moment, number, percent, rate, say, span, word } from "./i18n.js";

export class Maintenance {
  static pollMs = 1_000;

  constructor(showError, note) {
    this.showError = showError;
    this.note = note;
    // By name: the state of each read model.
    this.states = new Map();
    this.state = "";
    this.projections = el("div", {});
    // Screen readers read it when the job's state changes, not with every step of its progress.
    this.jobStatus = el("p", { class: "soft", role: "status" });
    this.jobs = el("div", { class: "letters" });
    this.node = el("div", {}, this.projections, this.jobStatus, this.jobs);
  }

  async open() {
    await this.tick();
  }

  async tick() {
    const page = await get("/v1/ops/maintenance");
    const state = JSON.stringify(page);
    if (state === this.state) return;
    const before = this.page;
    this.state = state;
    this.page = page;
    this.#drawJobs();
    if (before?.items[0]?.state !== page.items[0]?.state || !this.projections.firstChild) this.#drawProjections();
  }

  /** Shows the read models' states of a system status. */
  setStatus(status) {
    const before = this.#shownStates;
    this.states = new Map(status.projections.map((projection) => [projection.name, projection]));
    if (this.page && this.#shownStates !== before) this.#drawProjections();
  }

  /** What is shown of the states, to compare. */
  get #shownStates() {
    return JSON.stringify([...this.states.values()].map((projection) => [projection.name, projection.state, projection.pause]));
  }

  draw() {
    if (!this.page) return;
    this.#drawProjections();
    this.#drawJobs();
  }

  get #running() {
    const [first] = this.page.items;
    return first?.state === "running" ? first : null;
  }

  #drawProjections() {
    const busy = this.#running !== null;
    const focused = this.projections.contains(document.activeElement) ? document.activeElement.dataset.name : "";
    const button = (label, kind, name, work) => el("button", { type: "button", disabled: busy, data: { name: `${kind} ${name}` }, aria: { label: `${say(label)}: ${name}` }, onclick: work }, say(label));
    this.projections.replaceChildren(
      el("p", { class: "soft" }, say("maintenance_hint")),
      el("ul", { class: "aggregates panel-wide models" }, this.page.projections.map((name) => el("li", {},
        el("span", { class: "name" }, name),
        this.#state(name),
        el("span", { class: "row-actions" },
          button("verify", "verify", name, () => this.#start("verify", name)),
          button("rebuild", "rebuild", name, () => this.#openRebuildDialog(name)),
          this.#controls(name).map((control) => el("button", { type: "button", data: { name: `${control} ${name}` }, aria: { label: `${say(`control_${control}`)}: ${name}` }, onclick: () => this.#openControlDialog(control, name) }, say(`control_${control}`))))))));
    if (focused) this.projections.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
    this.jobStatus.textContent = this.page.items.length ? say("job_news", { what: heading(this.page.items[0]), state: word("j", this.page.items[0].state) }) : "";
  }

  #state(name) {
    const state = this.states.get(name);
    if (!state) return "";
    const { pause } = state;
    return el("span", {}, el("span", { class: `pill ${severity(state.state)}` }, word("s", state.state)),
      pause && el("small", { class: "soft" }, " ", say("paused_by", { name: pause.paused_by, when: moment(pause.paused_at), reason: pause.reason })));
  }

  /** What can be done to a read model as it is. */
  #controls(name) {
    const state = this.states.get(name);
    if (!state) return [];
    return [state.pause ? "resume" : "pause", ...(state.state === "failed" ? ["skip"] : []), "reset"];
  }

  #openControlDialog(control, name) {
    const reason = el("input", { id: "reason", name: "reason", required: true, maxlength: 1000, autocomplete: "off" });
    const submitButton = el("button", { type: "submit", class: "primary" }, say(`control_${control}_now`));
    const dialog = el("dialog", { aria: { labelledby: "control-title" }, onclose: () => dialog.remove() },
      el("form", { onsubmit: (event) => {
        event.preventDefault();
        submitButton.disabled = true;
        post("/v1/ops/projections", { projection: name, control, reason: reason.value }).then(async () => {
          dialog.close();
          this.setStatus(await get("/v1/ops/status"));
          this.note(say(`control_${control}_done`, { name }));
        }).catch((error) => {
          submitButton.disabled = false;
          this.showError(error);
        });
      } },
      el("h2", { id: "control-title" }, say(`control_${control}_title`, { name })), el("p", {}, say(`control_${control}_hint`)),
      el("div", { class: "field" }, el("label", { for: "reason" }, say("reason")), reason),
      el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, say("cancel")), submitButton)));
    document.body.append(dialog);
    dialog.showModal();
  }

  #drawJobs() {
    const focused = this.jobs.contains(document.activeElement);
    this.jobs.replaceChildren(...this.page.items.map((job) => this.#job(job)));
    if (focused) (this.jobs.querySelector("button") ?? this.jobs.querySelector("[tabindex]"))?.focus();
  }

  #job(job) {
    const isWrong = job.state === "failed" || job.verified?.equal === false;
    const kind = job.state === "running" || job.state === "cancelled" ? "wait" : isWrong ? "bad" : "good";
    return el("article", { class: `letter panel-wide job ${kind}` },
      el("header", {}, el("h3", { tabindex: "-1" }, heading(job)), el("span", { class: `pill ${kind}` }, job.verified ? say(job.verified.equal ? "equal" : "differs") : word("j", job.state)),
        el("span", { class: "soft" }, say("by", { name: job.by, when: moment(job.started_at) }))),
      job.state === "running" && progressOf(job),
      job.state === "running" && el("div", { class: "row-actions" }, el("button", { type: "button", onclick: ({ target }) => this.#cancel(job, target) }, say("cancel"))),
      job.error && el("p", { class: "why" }, job.error),
      job.verified && verificationOf(job.verified),
      job.rebuilt_key && el("p", { class: "facts" }, el("span", {}, say("version", job.rebuilt_key)), el("span", {}, say("rows", { n: job.rebuilt_key.rows })), el("span", {}, say("job_events", { n: job.rebuilt_key.events }))),
      job.rebuilt && el("p", { class: "facts" }, el("span", {}, say("version", job.rebuilt)), el("span", {}, say("job_read", { n: job.rebuilt.events, span: span(job.rebuilt.seconds), rate: rate(job.rebuilt.events_per_second) })),
        job.rebuilt.replaced !== null && el("span", {}, say("job_kept", { build: job.rebuilt.replaced })), job.rebuilt.dead_letters > 0 && el("span", {}, say("dead_now", { n: job.rebuilt.dead_letters }))));
  }

  #start(kind, projection, options = {}) {
    return post("/v1/ops/maintenance", { kind, projection, ...options }).then(() => this.tick()).catch((error) => this.showError(error));
  }

  #cancel(job, button) {
    button.disabled = true;
    post("/v1/ops/maintenance/cancel", { id: job.id }).then(() => this.tick()).catch((error) => this.showError(error));
  }

  #openRebuildDialog(name) {
    const field = (key, more) => el("div", { class: "field" }, el("label", { for: key }, say(`rebuild_${key}`)), el("input", { id: key, name: key, autocomplete: "off", ...more }));
    // What is left empty is not sent.
    const options = ({ elements: { reason, only, rate } }) => ({ ...(reason.value && { reason: reason.value }), ...(only.value && { only: only.value }), ...(rate.value && { rate: Number(rate.value) }) });
    const dialog = el("dialog", { aria: { labelledby: "rebuild-title" }, onclose: () => dialog.remove() },
      el("form", { onsubmit: (event) => { event.preventDefault(); dialog.close(); this.#start("rebuild", name, options(event.target)); } },
        el("h2", { id: "rebuild-title" }, say("rebuild_title", { name })), el("p", {}, say("rebuild_hint")),
        field("reason", { maxlength: 1000 }), field("only", { maxlength: 1000 }), field("rate", { type: "number", min: 1, max: 10_000_000 }),
        el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, say("cancel")), el("button", { type: "submit", class: "primary" }, say("rebuild")))));
    document.body.append(dialog);
    dialog.showModal();
  }
}

function heading(job) {
  return say(`job_${job.kind}`, { name: job.scope?.only ? `${job.projection}, ${job.scope.only}` : job.projection });
}

function progressOf(job) {
  const { progress } = job;
  if (!progress) return el("p", { class: "soft" }, say("job_begins"));
  const share = progress.total ? Math.min(1, progress.events / progress.total) : 0;
  const left = progress.waits_for ?? (progress.seconds_left === null ? percent(share) : say("progress", { percent: percent(share), left: span(progress.seconds_left) }));
  return el("div", {}, el("progress", { max: 1, value: share, aria: { label: heading(job) } }),
    el("p", { class: "facts num" }, el("span", {}, left), el("span", {}, say("of_events", { done: number(progress.events), total: number(progress.total) })), el("span", {}, say("per_second", { rate: rate(progress.events_per_second) }))));
}

function verificationOf(result) {
  const facts = [say("rows", { n: result.rows }), say("job_events", { n: result.events }), span(result.seconds),
    result.changed ? say("rows_changed", { n: result.changed }) : "", result.missing ? say("rows_missing", { n: result.missing }) : "", result.extra ? say("rows_extra", { n: result.extra }) : "",
    result.dead_letters || result.dead_letters_rebuilt ? say("dead_both", { n: result.dead_letters, now: number(result.dead_letters_rebuilt) }) : "", result.lost.length ? say("lost_events", { places: result.lost.join(", ") }) : ""];
  return el("div", {},
    el("p", { class: "facts num" }, facts.filter(Boolean).map((fact) => el("span", {}, fact))),
    result.differences.length ? el("p", { class: "soft" }, say("differences")) : "",
    result.differences.length ? el("table", { class: "table", aria: { label: say("differences") } },
      el("thead", {}, el("tr", {}, ["row_table", "row_kind", "row_key", "row_columns"].map((name) => el("th", { scope: "col" }, say(name))))),
      el("tbody", {}, result.differences.map((row) => el("tr", {},
        el("td", { data: { name: say("row_table") } }, row.table),
        el("td", { data: { name: say("row_kind") } }, word("d", row.kind)),
        el("td", { class: "mono whole", data: { name: say("row_key") } }, Object.entries(row.key).map(([name, value]) => el("div", {}, `${name} = ${value}`))),
        el("td", { class: "whole", data: { name: say("row_columns") } }, row.columns.join(", ") || "–"))))) : "");
}
