// One person, one aggregate in time, or one event on its way through the read models, looked up by a name, an id or a
// stream position.

import { get } from "../api.js";
import { el, icon } from "../dom.js";
import { aggregateLink, aggregateQuery, aggregateView } from "./aggregate.js";
import { json } from "./json.js";
import { moment, number, say, word, WORDS } from "./i18n.js";

const POSITION = /^([a-z]+):(\d+)$/i, ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const GOOD = new Set(["applied", "ignored"]), WAITING = new Set(["waiting", "parked", "missing"]);

export class Lookup {
  static pollMs = 3_000;

  constructor(showError) {
    this.showError = showError;
    this.query = "";
    this.result = null;
    this.showsJson = false;
    this.input = el("input", { id: "lookup", type: "search", required: true, maxlength: 128, spellcheck: "false", autocomplete: "off", autocapitalize: "none" });
    this.form = el("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); this.#go(this.input.value.trim()); } });
    this.container = el("div", {});
    this.node = el("div", {}, this.form, this.container);
    this.#drawForm();
  }

  async open(params) {
    const query = params.get("q") ?? "";
    if (query === this.query) return;
    this.input.value = query;
    await this.#lookUp(query);
  }

  /** Loads the trace again while the event is still on its way. */
  async tick() {
    const { query, result } = this;
    if (!result?.event || result.read_models.every((model) => GOOD.has(model.state)) && (!result.message || result.message.seen_at)) return;
    const latest = await getEvent(query);
    if (query !== this.query || JSON.stringify(latest) === JSON.stringify(result)) return;
    this.result = latest;
    this.#drawResult();
  }

  draw() {
    this.#drawForm();
    if (this.query) this.#drawResult();
  }

  #go(query) {
    if (query === this.query) this.#lookUp(query).catch((error) => this.showError(error));
    else location.hash = `#/lookup?${new URLSearchParams({ q: query })}`;
  }

  async #lookUp(query) {
    this.query = query;
    this.result = null;
    this.showsJson = false;
    if (!query) return this.container.replaceChildren();
    this.container.replaceChildren(el("p", { class: "blank" }, "…"));
    const result = await this.#find(query).catch((error) => {
      if (error.code === "not_found" || error.code === "invalid") return null;
      this.container.replaceChildren();
      this.query = "";
      throw error;
    });
    if (query !== this.query) return;
    const focused = result?.items && this.focused;
    this.result = result;
    this.#drawResult();
    (focused && this.container.querySelector(`${focused}:enabled`) || this.container.querySelector("[tabindex]")).focus({ preventScroll: true });
  }

  async #find(query) {
    if (POSITION.test(query)) return getEvent(query);
    const aggregate = aggregateQuery(query);
    if (aggregate) return get(`/v1/ops/aggregate?${aggregate}`);
    try {
      return await get(`/v1/ops/person?${new URLSearchParams({ user: query })}`);
    } catch (error) {
      if (error.code === "not_found" && ID.test(query)) return getEvent(query);
      throw error;
    }
  }

  #drawForm() {
    this.form.replaceChildren(
      el("div", { class: "field wide" }, el("label", { for: "lookup" }, say("lookup_what")), this.input),
      el("button", { type: "submit", class: "primary" }, say("look_up")));
    this.input.setAttribute("placeholder", say("lookup_hint"));
  }

  #drawResult() {
    const { result } = this;
    this.container.replaceChildren(
      !result ? el("div", { class: "blank panel-wide" }, icon("search"), el("strong", { tabindex: "-1" }, say("nothing_found")), say(aggregateQuery(this.query) ? "no_versions" : "nothing_found_hint"))
        : result.event ? this.#trace(result) : result.items ? aggregateView(result, (name) => this.#step(name), eventsOf) : personView(result));
  }

  /** Another version of the aggregate; the control that was used keeps the focus. */
  #step(name) {
    const { activeElement: active } = document;
    this.focused = active?.dataset.step ? `[data-step=${active.dataset.step}]` : active?.id === "version" ? "#version" : "";
    this.#go(name);
  }

  #trace(trace) {
    const { event, message } = trace;
    const shown = el("div", {}, this.showsJson ? json(event, event.type) : []);
    const toggle = el("button", { type: "button", aria: { expanded: String(this.showsJson) }, onclick: () => {
      this.showsJson = !this.showsJson;
      this.#drawResult();
      this.container.querySelector("[aria-expanded]").focus();
    } }, say(this.showsJson ? "hide_event" : "show_event"));
    return el("div", {},
      el("section", { class: `card panel-wide ${event.stream.toLowerCase()}` },
        el("h2", { tabindex: "-1" }, el("span", { class: "dot" }), event.type, el("small", { class: "num" }, `${event.stream} #${event.sequence}`)),
        facts([["at", moment(event.at)], ["stored_at", trace.stored_at && moment(trace.stored_at)], ["aggregate", aggregateOf(event)],
          ["by_whom", event.actor && lookupLink(event.actor)]]),
        el("div", { class: "row-actions" }, toggle), shown),
      message ? messageSection(message) : "",
      el("h2", {}, say("read_models")),
      el("div", { class: "panel-wide" }, el("table", { class: "table" },
        el("thead", {}, el("tr", {}, ["name", "state", "read_to", "when", "dead"].map((name) => el("th", { scope: "col" }, say(name))))),
        el("tbody", {}, trace.read_models.map((model) => readModel(model, event))))));
  }
}

function getEvent(query) {
  const position = query.match(POSITION);
  return get(`/v1/ops/event?${new URLSearchParams(position ? { stream: position[1], sequence: position[2] } : { id: query })}`);
}

function readModel(model, event) {
  const behind = model.checkpoint === null ? 0 : Math.max(0, event.sequence - model.checkpoint);
  const kind = GOOD.has(model.state) ? "good" : WAITING.has(model.state) ? "wait" : "bad";
  const failed = model.letters.find((deadLetter) => deadLetter.sequence === event.sequence && deadLetter.error);
  return [
    el("tr", {},
      el("td", { class: "whole" }, el("span", { class: "name" }, model.projection), " ", model.build === null ? "" : el("small", {}, say("version", model))),
      el("td", { data: { name: say("state") } }, el("span", { class: `pill ${kind}` }, word("w", model.state))),
      el("td", { class: "num", data: { name: say("read_to") } }, model.checkpoint === null ? "–" : `#${model.checkpoint}`, behind ? el("small", {}, ` ${say("before_it", { n: behind })}`) : ""),
      el("td", { class: "num", data: { name: say("when") } }, model.checkpoint_at ? moment(model.checkpoint_at) : "–"),
      el("td", { class: "num", data: { name: say("dead") } }, model.letters.length ? el("a", { class: "pill bad", href: "#/letters" }, number(model.letters.length)) : "0")),
    failed ? el("tr", { class: "note" }, el("td", { colspan: 5, class: "whole" }, failed.error)) : "",
  ];
}

/** What became of a message. */
function messageSection(message) {
  return el("section", { class: "card panel-wide" },
    el("h2", {}, say("message"), el("small", { class: "num" }, say("message_number", { n: message.sequence }))),
    facts([["from_person", lookupLink(message.sender_id)], ["to_person", lookupLink(message.recipient_id)],
      ["in_conversation", yesNo(message.stored)],
      ["are_friends", message.open === null ? say("unknown") : yesNo(message.open, message.open ? "" : say("not_friends_hint"))],
      ["notification", message.notification ? moment(message.notification.at) : say("none")],
      ["seen", message.seen_at ? moment(message.seen_at) : say("not_seen")]]));
}

function personView(person) {
  const { profile, sessions, friends, conversations } = person;
  return el("div", {},
    el("section", { class: "card panel-wide" },
      el("h2", { tabindex: "-1" }, person.username, el("span", { class: `pill ${person.email_verified ? "good" : "wait"}` }, say(person.email_verified ? "verified" : "not_verified"))),
      person.unknown.length ? el("p", { class: "alarm" }, icon("warn"), say("not_known", { names: person.unknown.join(", ") })) : "",
      facts([["id", el("span", { class: "mono" }, person.user_id)], ["registered", moment(person.created_at)],
        ["display_name", profile?.display_name], ["bio", profile?.bio], ["avatar", profile?.avatar_url && el("span", { class: "mono" }, profile.avatar_url)],
        ["last_login", sessions?.last_login_at && moment(sessions.last_login_at)],
        ["last_refreshed", sessions?.last_refreshed_at && moment(sessions.last_refreshed_at)],
        ["last_activity", conversations?.last_activity_at && moment(conversations.last_activity_at)]])),
    el("dl", { class: "tiles counts" },
      tile("active_sessions", sessions?.active, sessions && el("a", { href: `#/logins?${new URLSearchParams({ user: person.user_id })}` }, say("of_all", { n: sessions.total }))),
      tile("friends", friends?.accepted, friends && say("requests", { incoming: number(friends.incoming), outgoing: number(friends.outgoing) })),
      tile("conversations", conversations?.total, conversations && say("messages_in", { n: conversations.messages })),
      tile("unread", conversations?.unread, ""),
      tile("dead", person.dead_letters, person.dead_letters ? el("a", { href: "#/letters" }, say("letters")) : "", person.dead_letters ? "bad" : "")),
    el("h2", {}, say("aggregates")),
    el("ul", { class: "aggregates panel-wide" }, person.aggregates.map((aggregate) => el("li", { class: aggregate.stream.toLowerCase() },
      el("span", { class: "dot" }), el("span", { class: "kind" }, word("k", aggregate.kind)), aggregateLink(aggregate.kind, aggregate.aggregate_id, 0, el("span", { class: "mono" }, aggregate.aggregate_id)), eventsOf(aggregate.stream, aggregate.aggregate_id, say("events")),
      aggregate.with_user_id ? el("small", {}, say("with_person"), " ", lookupLink(aggregate.with_user_id)) : ""))));
}

function tile(name, value, small, style = "") {
  return el("div", { class: `tile panel-wide ${style}` }, el("dt", {}, say(name)), el("dd", { class: "big num" }, value === undefined || value === null ? "–" : number(value)), el("dd", {}, small || ""));
}

/** A list of names and values, without those that have none. */
function facts(rows) {
  return el("dl", { class: "facts-list" }, rows.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, say(name)), el("dd", {}, value))));
}

function yesNo(value, hint = "") {
  return el("span", {}, el("span", { class: `pill ${value ? "good" : "bad"}` }, say(value ? "yes" : "no")), hint && ` ${hint}`);
}

function eventsOf(stream, aggregate, text = "") {
  return el("a", { class: text ? "" : "mono", href: `#/events?${new URLSearchParams({ stream, aggregate_id: aggregate })}` }, text || aggregate);
}

/** The event's aggregate as it was after it, where its state can be shown; else its events. */
function aggregateOf(event) {
  const kind = event.subject.split(".")[2];
  return `k_${kind}` in WORDS.en ? aggregateLink(kind, event.aggregate_id, event.version, el("span", { class: "mono" }, event.aggregate_id)) : eventsOf(event.stream, event.aggregate_id);
}

function lookupLink(id) {
  return ID.test(id) ? el("a", { class: "mono", href: `#/lookup?${new URLSearchParams({ q: id })}` }, id) : id;
}
