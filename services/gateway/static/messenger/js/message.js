// Messages as plain values, the same from a page, an event or an answer.

// Hours within which a message may be edited, as the gateway is set; messaging decides.
const EDIT_WINDOW_HOURS = Number(document.documentElement.dataset.editWindowHours);

/** The message in an event or an answer, without what says where it belongs. */
export function messageOf({ message_id, sequence, sender_id, text, sent_at, edited_at, deleted, reply_to, reactions }) {
  return { message_id, sequence, sender_id, text, sent_at, edited_at, deleted, reply_to, reactions };
}

/** The message once its text is gone. */
export function withoutText(message) {
  return { ...message, text: "", deleted: true, edited_at: undefined, reply_to: undefined, reactions: undefined };
}

/** Reactions once a user has chosen an emoji, or taken theirs back (null). */
export function withReaction(reactions, userId, emoji) {
  const others = (reactions ?? []).map((reaction) => ({ ...reaction, user_ids: reaction.user_ids.filter((id) => id !== userId) }));
  const chosen = others.find((reaction) => reaction.emoji === emoji);
  if (chosen) chosen.user_ids.push(userId);
  else if (emoji) others.push({ emoji, user_ids: [userId] });
  return others.filter((reaction) => reaction.user_ids.length);
}

/** The emoji that a user has chosen for a message, or null. */
export function reactionOf(message, userId) {
  return message.reactions?.find((reaction) => reaction.user_ids.includes(userId))?.emoji ?? null;
}

/** Whether a user may still change the text of a message. */
export function isEditable(message, userId) {
  return message.sender_id === userId && !message.deleted && Date.now() - Date.parse(message.sent_at) < EDIT_WINDOW_HOURS * 3_600_000;
}
