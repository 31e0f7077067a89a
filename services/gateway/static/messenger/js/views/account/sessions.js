// The card of the user's active sessions: this device first, the others can be ended.

import * as api from "../../api.js";
import { el, fill } from "../../dom.js";
import { ago, full, reason, t } from "../../i18n.js";

export function sessionsCard() {
  const status = el("p", { class: "outcome", role: "status", tabindex: "-1" }), problem = el("p", { class: "problem", role: "alert" }), list = el("div");
  const node = el("div", { class: "card" }, el("h3", {}, t("sessions")), status, problem, list);

  function row(one) {
    const device = deviceName(one.device);
    return el("li", { class: "person session" },
      el("div", {}, el("span", { class: "who" }, device), one.current && el("strong", { class: "here" }, t("this_session")),
        el("span", { class: "soft" }, [one.address, at("begun", one.created_at), at("last_used", one.last_refreshed_at)].filter(Boolean).flatMap((part, place) => (place ? [" · ", part] : [part])))),
      !one.current && el("div", { class: "actions" }, el("button", { type: "button", aria: { label: `${t("revoke")}: ${device}` }, onclick: ending(`/v1/sessions/${one.session_id}`, t("revoked", { device })) }, t("revoke"))));
  }

  async function draw() {
    try {
      const { items } = await api.all("/v1/sessions");
      items.sort((one, other) => other.current - one.current);
      fill(list, el("ul", { class: "persons" }, items.map(row)),
        items.length > 1 && el("button", { class: "danger", type: "button", onclick: ending("/v1/sessions", t("revoked_others")) }, t("revoke_others")));
      problem.textContent = "";
    } catch (error) {
      problem.textContent = reason(error);
    }
  }

  /** Ends what is at the path, and says so. */
  function ending(path, said) {
    return async ({ currentTarget: button }) => {
      button.disabled = true;
      status.textContent = problem.textContent = "";
      try {
        await api.remove(path);
        status.textContent = said;
        await draw();
        status.focus();
      } catch (error) {
        await draw();
        problem.textContent = reason(error);
        problem.scrollIntoView({ block: "nearest" });
      }
    };
  }

  draw();
  return { node, draw };
}

/** What our own page calls itself, in words; the name that another client has given itself. */
export function deviceName(device) {
  const [, browser, system] = /^Vestnik web, (\w+)(?:, (\w+))?$/.exec(device) ?? [];
  return system ? t("device_web", { browser, system }) : browser || device || t("unknown_device");
}

/** How long ago it was, with the moment as its title. */
function at(key, when) {
  return el("time", { datetime: when, title: full(when) }, t(key, { when: ago(when) }));
}
