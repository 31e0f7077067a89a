// What can be done to a message of the conversation: the menu, and what its items do.

import { announce } from "../../announce.js";
import { copy } from "../../clipboard.js";
import { icon } from "../../dom.js";
import { t } from "../../i18n.js";
import { isEditable, reactionOf } from "../../message.js";
import { confirmDialog } from "../confirm_dialog.js";
import { closePopover, openMenu } from "../menu.js";
import { openReportDialog } from "../report_dialog.js";
import { openReactionPicker } from "../messages/reaction_picker.js";

/** How the outbox finds a message: by its id, or by that of the entry that sends it. */
const targetOf = ({ message_id, id }) => (message_id ? { message_id } : { send_id: id });

export class MessageActions {
  /** `view`: the conversation's view, with its `composer` and its list of `messages`. */
  constructor(view) {
    this.view = view;
    this.store = view.store;
    this.peer = view.peer;
  }

  close() {
    closePopover();
    this.dialog?.close();
  }

  /** Opens a message's menu at an element. */
  openMenu(message, anchor) {
    const { composer } = this.view, me = this.store.me.user_id;
    const isSent = Boolean(message.message_id), mine = !isSent || message.sender_id === me;
    const items = [
      isSent && { text: t("reply"), icon: icon("reply"), action: () => composer.reply(message) },
      isSent && { text: t("react"), icon: icon("smile"), action: () => this.#pickReaction(message, anchor) },
      (!isSent || isEditable(message, me)) && { text: t("edit"), icon: icon("edit"), action: () => composer.edit(message, targetOf(message)) },
      { text: t("copy_text"), icon: icon("copy"), action: () => copy(message.text).then(() => announce(t("copied"))) },
      isSent && !mine && { text: t("report"), icon: icon("warn"), danger: true, action: () => openReportDialog(this.store, this.peer, [message.message_id]) },
      mine && { text: t("delete"), icon: icon("trash"), danger: true, action: () => this.#confirmDeletion(message, anchor.closest(".message")) },
    ];
    openMenu(t("message_menu"), items.filter(Boolean), anchor);
  }

  react(message, emoji) {
    this.store.outbox.react(this.peer, targetOf(message), emoji);
  }

  jumpTo(sequence) {
    return this.view.messages.jumpTo(sequence);
  }

  /** Puts a text into the composer. */
  useText(text) {
    this.view.composer.write(text);
  }

  /** Edits the user's last message; whether there is one that can be edited. */
  editLast() {
    const { outbox, messages, me } = this.store;
    const sent = messages.reachesEnd(this.peer) ? messages.of(this.peer).filter(({ sender_id: sender }) => sender === me.user_id) : [];
    const last = [...sent, ...outbox.to(this.peer)].map((message) => outbox.applyTo(message)).findLast(({ deleted }) => !deleted);
    if (!last || (last.message_id && !isEditable(last, me.user_id))) return false;
    this.view.composer.edit(last, targetOf(last));
    return true;
  }

  #pickReaction(message, anchor) {
    openReactionPicker(reactionOf(message, this.store.me.user_id), anchor, (emoji) => this.react(message, emoji));
  }

  #confirmDeletion(message, row) {
    this.dialog = confirmDialog({ text: t("delete_sure"), action: t("delete"), work: () => { this.store.outbox.delete(this.peer, targetOf(message)); } });
    this.dialog.addEventListener("close", () => {
      if (row?.isConnected) row.focus({ preventScroll: true });
      else this.view.composer.focus();
    });
  }
}
