// The card of the copies of one's data: requests one, shows how far it is, and downloads it.

import * as api from "../../api.js";
import { el, fill } from "../../dom.js";
import { errorText, fullTime, number, t } from "../../i18n.js";

const PATH = "/v1/users/me/exports";
const DAY_MS = 86_400_000, POLL_MS = 3_000, MIB = 1024 * 1024;

export function dataCopiesCard(store) {
  const state = el("div", { class: "state" }), status = el("p", { class: "outcome", role: "status" }), problem = el("p", { class: "problem", role: "alert" });
  const heading = el("h3", { tabindex: "-1" }, t("data_copy"));
  const node = el("div", { class: "card" }, heading, el("p", { class: "soft" }, t("data_copy_hint")), status, problem, state);
  let timer = null;

  async function draw() {
    clearTimeout(timer);
    try {
      const { items: [copy] } = await api.get(PATH);
      show(copy);
      problem.textContent = "";
    } catch (error) {
      problem.textContent = errorText(error);
      fill(state, button("retry", draw));
    }
  }

  async function again() {
    status.textContent = "";
    await draw();
  }

  function show(copy) {
    const focused = state.contains(document.activeElement);
    fill(state, copy && description(copy), (!copy || isOld(copy)) && button("data_copy_request", request));
    if (focused) state.querySelector("button")?.focus();
    // Until the card is no longer on the page.
    if (copy?.state === "making") timer = setTimeout(() => node.isConnected && again(), POLL_MS);
  }

  /** What became of the last copy; one that has expired is history once another can be requested. */
  function description(copy) {
    const next = !isOld(copy) && el("p", { class: "soft" }, t("data_copy_next", { when: fullTime(new Date(copy.requested_at).getTime() + DAY_MS) }));
    if (copy.state === "making") return [el("p", {}, t("data_copy_making")), el("progress", { aria: { label: t("data_copy_making") } })];
    if (copy.state === "ready") {
      const size = t("mebibytes", { n: number(Math.max(0.1, Math.round(copy.size / MIB * 10) / 10)) });
      return [el("p", {}, t("data_copy_ready", { when: fullTime(copy.expires_at), size })), button("data_copy_download", () => download(copy))];
    }
    return [copy.state === "failed" && el("p", {}, t("data_copy_failed")), next];
  }

  function button(key, act) {
    const element = el("button", { type: "button", onclick: async () => {
      element.disabled = true;
      status.textContent = problem.textContent = "";
      await act();
      element.disabled = false;
    } }, t(key));
    return element;
  }

  async function request() {
    try {
      await store.notifications.asOwnAct("data_export", () => api.post(PATH));
    } catch (error) {
      await draw();
      problem.textContent = errorText(error);
      return;
    }
    await draw();
    status.textContent = t("data_copy_requested");
  }

  async function download({ export_id: id, requested_at: requested }) {
    status.textContent = t("data_copy_downloading");
    try {
      const url = URL.createObjectURL(await api.file(`${PATH}/${id}`));
      el("a", { href: url, download: `vestnik-${requested.slice(0, 10)}.zip` }).click();
      // The browser has the file by then, or asks where to keep it.
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      status.textContent = t("data_copy_downloaded");
    } catch (error) {
      status.textContent = "";
      await draw();
      problem.textContent = errorText(error);
    }
  }

  draw();
  return { node, focus: () => heading.focus() };
}

/** Whether the next one can be requested. */
function isOld({ requested_at: requested }) {
  return Date.now() - new Date(requested) >= DAY_MS;
}
