// One aggregate in time: an event, the state after it, and the versions around it.

import { el, icon } from "../dom.js";
import { json } from "./json.js";
import { moment, number, say, word } from "./i18n.js";

const AGGREGATE = /^([a-z]+):([0-9a-f-]{36}(?:\.[0-9a-f-]{36})?)(?:@(\d+))?$/i;

/** What the text names, as the interface's query; null if it names no aggregate: `friendship:ID`, `friendship:ID@3`. */
export function aggregateQuery(text) {
  const [, kind, id, version] = text.match(AGGREGATE) ?? [];
  return kind ? new URLSearchParams({ kind: kind.toLowerCase(), id: id.toLowerCase(), ...(version && { version }) }) : null;
}

/** The text that names an aggregate, or one of its versions. */
export function aggregateName(kind, id, version) {
  return version ? `${kind}:${id}@${version}` : `${kind}:${id}`;
}

export function aggregateLink(kind, id, version, ...content) {
  return el("a", { href: `#/lookup?${new URLSearchParams({ q: aggregateName(kind, id, version) })}` }, content);
}

/** The page of versions that was found; `go` shows another version, `eventsOf` links to the events. */
export function aggregateView(found, go, eventsOf) {
  const [shown, before] = found.items, { event, state } = shown;
  const to = (version) => go(aggregateName(found.kind, found.aggregate_id, version));
  return el("div", {},
    el("section", { class: `card panel-wide ${found.stream.toLowerCase()}` },
      el("h2", { tabindex: "-1" }, el("span", { class: "dot" }), word("k", found.kind), el("small", { class: "num" }, say("version_of", { version: number(event.version), total: number(found.last_version) }))),
      el("p", { class: "mono" }, eventsOf(found.stream, found.aggregate_id)),
      found.last_version > 1 ? steps(event.version, found.last_version, to) : "",
      notes(shown).map((text) => el("p", { class: "alarm" }, icon("warn"), text))),
    el("section", { class: "card panel-wide" },
      el("h2", {}, say("state_after"), el("small", { class: "num" }, event.type, " · ", moment(event.at))),
      state === null ? el("p", {}, say("state_unknown")) : Object.keys(state).length ? fields(state, before?.state ?? null) : el("p", { class: "soft" }, say("state_empty")),
      el("details", {}, el("summary", {}, say("show_event")), json(event, event.type),
        el("p", { class: "soft" }, event.data === null ? say("private") : say("masked")))),
    el("h2", {}, say("versions")),
    el("ol", { class: "events panel-wide" }, found.items.map((one) => version(one, one === shown, () => to(one.event.version)))));
}

/** The slider through all versions, and the steps to the one before and the one after. */
function steps(version, last, to) {
  const step = (label, target) => el("button", { type: "button", disabled: target < 1 || target > last, data: { step: label }, onclick: () => to(target) }, say(label));
  const slider = el("input", { type: "range", id: "version", min: 1, max: last, step: 1, value: String(version), oninput: ({ target }) => { shown.textContent = number(Number(target.value)); },
    onchange: ({ target }) => to(Number(target.value)) });
  const shown = el("output", { class: "num", for: "version" }, number(version));
  return el("div", { class: "steps" }, step("version_before", version - 1), step("version_after", version + 1),
    el("label", { for: "version" }, say("version_one")), slider, shown);
}

/** The state's fields; those that the event changed are marked. */
function fields(state, before) {
  return el("dl", { class: "facts-list" }, Object.entries(state).map(([name, value]) => {
    const changed = before !== null && JSON.stringify(before[name]) !== JSON.stringify(value);
    return el("div", {}, el("dt", {}, name, changed ? el("span", { class: "pill wait" }, say("changed")) : ""), el("dd", { class: "mono" }, text(value)));
  }));
}

function text(value) {
  return value === null || value === "" ? "–" : typeof value === "string" ? value : JSON.stringify(value);
}

function version(one, current, choose) {
  const { event } = one;
  return el("li", { class: event.stream.toLowerCase() },
    el("button", { class: "event", type: "button", aria: current ? { current: "true" } : {}, onclick: choose },
      el("time", { class: "num", datetime: event.at }, moment(event.at)),
      el("span", { class: "where num" }, say("version_number", { version: number(event.version) })),
      el("span", { class: "what" }, event.type),
      el("span", { class: "which mono" }, one.state === null ? say("state_unknown") : JSON.stringify(one.state)),
      el("span", { class: "seq num" }, `#${event.sequence}`)));
}

function notes(shown) {
  return [
    shown.missing && say("versions_missing", { versions: shown.missing }),
    ...[...shown.lost_before, ...shown.lost_after].map((places) => say("accepted_loss", { places })),
    shown.error && say("event_unreadable", { why: shown.error }),
    shown.expired_at && say("state_expired", { when: moment(shown.expired_at) }),
  ].filter(Boolean);
}
