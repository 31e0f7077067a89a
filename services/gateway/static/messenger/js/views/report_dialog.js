// The dialog that reports a person, or a message, to the operators.

import * as api from "../api.js";
import { el, fill } from "../dom.js";
import { form } from "../forms.js";
import { t } from "../i18n.js";
import { openDialog } from "./dialog.js";

const REASONS = ["spam", "harassment", "violence", "sexual", "impersonation", "other"];

/** Opens it. `messageIds`: the messages that the report is about. */
export function openReportDialog(store, peer, messageIds = []) {
  const choices = REASONS.map((code) => el("option", { value: code }, t(`reason_${code}`)));
  const reason = el("div", { class: "field" }, el("label", { for: "report-reason" }, t("report_reason")), el("select", { id: "report-reason" }, choices));
  const block = el("label", { class: "check", hidden: store.blocks.has(peer) }, el("input", { type: "checkbox" }), t("report_block"));
  const card = form({
    title: t("report_title", { name: store.profiles.nameOf(peer) }), intro: t(messageIds.length ? "report_message_hint" : "report_hint"), action: t("report"),
    fields: [["comment", t("report_comment"), { tag: "textarea", rows: 3, rule: "comment", count: true, dir: "auto" }]],
    async submit({ comment }) {
      // Once more after the block has failed: the report is there.
      if (!reported) await api.post("/v1/reports", { user_id: peer, message_ids: messageIds, reason: reason.querySelector("select").value, comment });
      reported = true;
      if (block.querySelector("input").checked) await store.blocks.add(peer);
      const close = el("button", { type: "button", class: "primary", onclick: () => dialog.close() }, t("close"));
      fill(dialog, el("p", { role: "status" }, t("report_sent")), el("div", { class: "actions" }, close));
      close.focus();
    },
    more: [el("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, t("cancel"))],
  });
  let reported = false;
  card.querySelector(".field").before(reason);
  card.querySelector("button[type=submit]").before(block);
  const dialog = openDialog({ class: "report", aria: { label: t("report") } }, card);
}
