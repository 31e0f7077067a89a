// The menu of a conversation: search in it, mute, pin, archive, report, block.

import { icon } from "../dom.js";
import { errorText, t } from "../i18n.js";
import { isMuted } from "../store/conversation_settings.js";
import { confirmBlock } from "./confirm_dialog.js";
import { openMenu } from "./menu.js";
import { openPalette } from "./palette.js";
import { openReportDialog } from "./report_dialog.js";

const HOUR_MS = 3_600_000;
const MUTED_HOURS = [1, 8];

/** Opens it at an element. `failed(text)`: called with the reason where a change was refused. */
export function openConversationMenu(store, peer, anchor, failed) {
  const conversation = store.conversations.get(peer);
  if (!conversation) return;
  const item = (text, shape, patch) => ({
    text, icon: icon(shape),
    action: () => store.conversationSettings.change(peer, patch()).catch((error) => failed(errorText(error))),
  });
  const mutedFor = (hours) => () => ({ muted_until: new Date(Date.now() + hours * HOUR_MS).toISOString() });
  openMenu(t("conversation_menu", { name: store.profiles.nameOf(peer) }), [
    { text: t("search_messages"), icon: icon("search"), action: () => openPalette(store, { peer }) },
    conversation.pinned ? item(t("unpin"), "pin", () => ({ pinned: false })) : item(t("pin"), "pin", () => ({ pinned: true })),
    ...isMuted(conversation) ? [item(t("unmute"), "bell", () => ({ muted_until: null }))] : [
      ...MUTED_HOURS.map((hours) => item(t("mute_hours", { n: hours }), "muted", mutedFor(hours))),
      item(t("mute_forever"), "muted", () => ({ muted_until: "forever" })),
    ],
    conversation.archived ? item(t("unarchive"), "archive", () => ({ archived: false })) : item(t("archive"), "archive", () => ({ archived: true })),
    { text: t("report"), icon: icon("warn"), danger: true, action: () => openReportDialog(store, peer) },
    { text: t("block"), icon: icon("block"), danger: true, action: () => confirmBlock(store, peer) },
  ], anchor);
}
