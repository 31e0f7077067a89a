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
export function aggregateView(page, go, eventsOf) {
  const [shown, before] = page.items, { event, state } = shown;
  const goTo = (version) => go(aggregateName(page.kind, page.aggregate_id, version));
  return el("div", {},
    el("section", { class: `card panel-wide ${page.stream.toLowerCase()}` },
      el("h2", { tabindex: "-1" }, el("span", { class: "dot" }), word("k", page.kind), el("small", { class: "num" }, say("version_of", { version: number(event.version), total: number(page.last_version) }))),
      el("p", { class: "mono" }, eventsOf(page.stream, page.aggregate_id)),
      page.last_version > 1 ? steps(event.version, page.last_version, goTo) : "",
      notes(shown).map((text) => el("p", { class: "alarm" }, icon("warn"), text))),
    el("section", { class: "card panel-wide" },
      el("h2", {}, say("state_after"), el("small", { class: "num" }, event.type, " · ", moment(event.at))),
      state === null ? el("p", {}, say("state_unknown")) : Object.keys(state).length ? fields(state, before?.state ?? null) : el("p", { class: "soft" }, say("state_empty")),
      el("details", {}, el("summary", {}, say("show_event")), json(event, event.type),
        el("p", { class: "soft" }, event.data === null ? say("private") : say("masked")))),
    el("h2", {}, say("versions")),
    el("ol", { class: "events panel-wide" }, page.items.map((item) => version(item, item === shown, () => goTo(item.event.version)))));
}

/** The slider through all versions, and the steps to the one before and the one after. */
function steps(version, last, goTo) {
  const step = (label, target) => el("button", { type: "button", disabled: target < 1 || target > last, data: { step: label }, onclick: () => goTo(target) }, say(label));
  const slider = el("input", { type: "range", id: "version", min: 1, max: last, step: 1, value: String(version), oninput: ({ target }) => { shown.textContent = number(Number(target.value)); },
    onchange: ({ target }) => goTo(Number(target.value)) });
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

function version(item, current, choose) {
  const { event } = item;
  return el("li", { class: event.stream.toLowerCase() },
    el("button", { class: "event", type: "button", aria: current ? { current: "true" } : {}, onclick: choose },
      el("time", { class: "num", datetime: event.at }, moment(event.at)),
      el("span", { class: "where num" }, say("version_number", { version: number(event.version) })),
      el("span", { class: "what" }, event.type),
      el("span", { class: "which mono" }, item.state === null ? say("state_unknown") : JSON.stringify(item.state)),
      el("span", { class: "seq num" }, `#${event.sequence}`)));
}

function notes(item) {
  return [
    item.missing && say("versions_missing", { versions: item.missing }),
    ...[...item.lost_before, ...item.lost_after].map((places) => say("accepted_loss", { places })),
    item.error && say("event_unreadable", { why: item.error }),
    item.expired_at && say("state_expired", { when: moment(item.expired_at) }),
  ].filter(Boolean);
}
