// One person, one aggregate in time, or one event on its way through the read models, looked up by a name, an id or a
// place.

import { get } from "../api.js";
import { el, icon } from "../dom.js";
import { aggregateLink, aggregateQuery, aggregateView } from "./aggregate.js";
import { json } from "./json.js";
import { moment, number, say, word, WORDS } from "./i18n.js";

const PLACE = /^([a-z]+):(\d+)$/i, ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const GOOD = new Set(["applied", "ignored"]), WAITING = new Set(["waiting", "parked", "missing"]);

export class Lookup {
  static every = 3_000;

  constructor(showError) {
    this.showError = showError;
    this.asked = "";
    this.found = null;
    this.whole = false;
    this.input = el("input", { id: "lookup", type: "search", required: true, maxlength: 128, spellcheck: "false", autocomplete: "off", autocapitalize: "none" });
    this.form = el("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); this.#go(this.input.value.trim()); } });
    this.place = el("div", {});
    this.node = el("div", {}, this.form, this.place);
    this.#drawForm();
  }

  async open(asked) {
    const wanted = asked.get("q") ?? "";
    if (wanted === this.asked) return;
    this.input.value = wanted;
    await this.#look(wanted);
  }

  /** An event that is still on its way is looked at again. */
  async tick() {
    const { asked, found } = this;
    if (!found?.event || found.read_models.every((one) => GOOD.has(one.state)) && (!found.message || found.message.seen_at)) return;
    const again = await event(asked);
    if (asked !== this.asked || JSON.stringify(again) === JSON.stringify(found)) return;
    this.found = again;
    this.#drawFound();
  }

  draw() {
    this.#drawForm();
    if (this.asked) this.#drawFound();
  }

  #go(wanted) {
    if (wanted === this.asked) this.#look(wanted).catch((error) => this.showError(error));
    else location.hash = `#/lookup?${new URLSearchParams({ q: wanted })}`;
  }

  async #look(wanted) {
    this.asked = wanted;
    this.found = null;
    this.whole = false;
    if (!wanted) return this.place.replaceChildren();
    this.place.replaceChildren(el("p", { class: "blank" }, "…"));
    const found = await this.#find(wanted).catch((error) => {
      if (error.code === "not_found" || error.code === "invalid") return null;
      this.place.replaceChildren();
      this.asked = "";
      throw error;
    });
    if (wanted !== this.asked) return;
    const focused = found?.items && this.focused;
    this.found = found;
    this.#drawFound();
    (focused && this.place.querySelector(`${focused}:enabled`) || this.place.querySelector("[tabindex]")).focus({ preventScroll: true });
  }

  async #find(wanted) {
    if (PLACE.test(wanted)) return event(wanted);
    const aggregate = aggregateQuery(wanted);
    if (aggregate) return get(`/v1/ops/aggregate?${aggregate}`);
    try {
      return await get(`/v1/ops/person?${new URLSearchParams({ user: wanted })}`);
    } catch (error) {
      if (error.code === "not_found" && ID.test(wanted)) return event(wanted);
      throw error;
    }
  }

  #drawForm() {
    this.form.replaceChildren(
      el("div", { class: "field wide" }, el("label", { for: "lookup" }, say("lookup_what")), this.input),
      el("button", { type: "submit", class: "primary" }, say("look_up")));
    this.input.setAttribute("placeholder", say("lookup_hint"));
  }

  #drawFound() {
    const { found } = this;
    this.place.replaceChildren(
      !found ? el("div", { class: "blank panel-wide" }, icon("search"), el("strong", { tabindex: "-1" }, say("nothing_found")), say(aggregateQuery(this.asked) ? "no_versions" : "nothing_found_hint"))
        : found.event ? this.#trace(found) : found.items ? aggregateView(found, (name) => this.#step(name), eventsOf) : person(found));
  }

  /** Another version of the aggregate; the control that was used keeps the focus. */
  #step(name) {
    const { activeElement: active } = document;
    this.focused = active?.dataset.step ? `[data-step=${active.dataset.step}]` : active?.id === "version" ? "#version" : "";
    this.#go(name);
  }

  #trace(found) {
    const { event: what, message } = found;
    const shown = el("div", {}, this.whole ? json(what, what.type) : []);
    const toggle = el("button", { type: "button", aria: { expanded: String(this.whole) }, onclick: () => {
      this.whole = !this.whole;
      this.#drawFound();
      this.place.querySelector("[aria-expanded]").focus();
    } }, say(this.whole ? "hide_event" : "show_event"));
    return el("div", {},
      el("section", { class: `card panel-wide ${what.stream.toLowerCase()}` },
        el("h2", { tabindex: "-1" }, el("span", { class: "dot" }), what.type, el("small", { class: "num" }, `${what.stream} #${what.sequence}`)),
        facts([["at", moment(what.at)], ["stored_at", found.stored_at && moment(found.stored_at)], ["aggregate", aggregateOf(what)],
          ["by_whom", what.actor && lookUp(what.actor)]]),
        el("div", { class: "row-actions" }, toggle), shown),
      message ? fate(message) : "",
      el("h2", {}, say("read_models")),
      el("div", { class: "panel-wide" }, el("table", { class: "table" },
        el("thead", {}, el("tr", {}, ["name", "state", "read_to", "when", "dead"].map((name) => el("th", { scope: "col" }, say(name))))),
        el("tbody", {}, found.read_models.map((one) => readModel(one, what))))));
  }
}

function event(wanted) {
  const place = wanted.match(PLACE);
  return get(`/v1/ops/event?${new URLSearchParams(place ? { stream: place[1], sequence: place[2] } : { id: wanted })}`);
}

function readModel(one, what) {
  const behind = one.checkpoint === null ? 0 : Math.max(0, what.sequence - one.checkpoint);
  const kind = GOOD.has(one.state) ? "good" : WAITING.has(one.state) ? "wait" : "bad";
  const failed = one.letters.find((letter) => letter.sequence === what.sequence && letter.error);
  return [
    el("tr", {},
      el("td", { class: "whole" }, el("span", { class: "name" }, one.projection), " ", one.build === null ? "" : el("small", {}, say("version", one))),
      el("td", { data: { name: say("state") } }, el("span", { class: `pill ${kind}` }, word("w", one.state))),
      el("td", { class: "num", data: { name: say("read_to") } }, one.checkpoint === null ? "–" : `#${one.checkpoint}`, behind ? el("small", {}, ` ${say("before_it", { n: behind })}`) : ""),
      el("td", { class: "num", data: { name: say("when") } }, one.checkpoint_at ? moment(one.checkpoint_at) : "–"),
      el("td", { class: "num", data: { name: say("dead") } }, one.letters.length ? el("a", { class: "pill bad", href: "#/letters" }, number(one.letters.length)) : "0")),
    failed ? el("tr", { class: "note" }, el("td", { colspan: 5, class: "whole" }, failed.error)) : "",
  ];
}

/** What became of a message. */
function fate(message) {
  return el("section", { class: "card panel-wide" },
    el("h2", {}, say("message"), el("small", { class: "num" }, say("message_number", { n: message.sequence }))),
    facts([["from_person", lookUp(message.sender_id)], ["to_person", lookUp(message.recipient_id)],
      ["in_conversation", yes(message.stored)],
      ["are_friends", message.open === null ? say("unknown") : yes(message.open, message.open ? "" : say("not_friends_hint"))],
      ["notification", message.notification ? moment(message.notification.at) : say("none")],
      ["seen", message.seen_at ? moment(message.seen_at) : say("not_seen")]]));
}

function person(found) {
  const { profile, sessions, friends, conversations } = found;
  return el("div", {},
    el("section", { class: "card panel-wide" },
      el("h2", { tabindex: "-1" }, found.username, el("span", { class: `pill ${found.email_verified ? "good" : "wait"}` }, say(found.email_verified ? "verified" : "not_verified"))),
      found.unknown.length ? el("p", { class: "alarm" }, icon("warn"), say("not_known", { names: found.unknown.join(", ") })) : "",
      facts([["id", el("span", { class: "mono" }, found.user_id)], ["registered", moment(found.created_at)],
        ["display_name", profile?.display_name], ["bio", profile?.bio], ["avatar", profile?.avatar_url && el("span", { class: "mono" }, profile.avatar_url)],
        ["last_login", sessions?.last_login_at && moment(sessions.last_login_at)],
        ["last_refreshed", sessions?.last_refreshed_at && moment(sessions.last_refreshed_at)],
        ["last_activity", conversations?.last_activity_at && moment(conversations.last_activity_at)]])),
    el("dl", { class: "tiles counts" },
      tile("active_sessions", sessions?.active, sessions && el("a", { href: `#/logins?${new URLSearchParams({ user: found.user_id })}` }, say("of_all", { n: sessions.total }))),
      tile("friends", friends?.accepted, friends && say("requests", { incoming: number(friends.incoming), outgoing: number(friends.outgoing) })),
      tile("conversations", conversations?.total, conversations && say("messages_in", { n: conversations.messages })),
      tile("unread", conversations?.unread, ""),
      tile("dead", found.dead_letters, found.dead_letters ? el("a", { href: "#/letters" }, say("letters")) : "", found.dead_letters ? "bad" : "")),
    el("h2", {}, say("aggregates")),
    el("ul", { class: "aggregates panel-wide" }, found.aggregates.map((one) => el("li", { class: one.stream.toLowerCase() },
      el("span", { class: "dot" }), el("span", { class: "kind" }, word("k", one.kind)), aggregateLink(one.kind, one.aggregate_id, 0, el("span", { class: "mono" }, one.aggregate_id)), eventsOf(one.stream, one.aggregate_id, say("events")),
      one.with_user_id ? el("small", {}, say("with_person"), " ", lookUp(one.with_user_id)) : ""))));
}

function tile(name, value, small, style = "") {
  return el("div", { class: `tile panel-wide ${style}` }, el("dt", {}, say(name)), el("dd", { class: "big num" }, value === undefined || value === null ? "–" : number(value)), el("dd", {}, small || ""));
}

/** A list of names and values, without those that have none. */
function facts(rows) {
  return el("dl", { class: "facts-list" }, rows.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, say(name)), el("dd", {}, value))));
}

function yes(is, hint = "") {
  return el("span", {}, el("span", { class: `pill ${is ? "good" : "bad"}` }, say(is ? "yes" : "no")), hint && ` ${hint}`);
}

function eventsOf(stream, aggregate, text = "") {
  return el("a", { class: text ? "" : "mono", href: `#/events?${new URLSearchParams({ stream, aggregate_id: aggregate })}` }, text || aggregate);
}

/** The event's aggregate as it was after it, where its state can be shown; else its events. */
function aggregateOf(what) {
  const kind = what.subject.split(".")[2];
  return `k_${kind}` in WORDS.en ? aggregateLink(kind, what.aggregate_id, what.version, el("span", { class: "mono" }, what.aggregate_id)) : eventsOf(what.stream, what.aggregate_id);
}

function lookUp(id) {
  return ID.test(id) ? el("a", { class: "mono", href: `#/lookup?${new URLSearchParams({ q: id })}` }, id) : id;
}
