// Alerts to messages from others, and to changes of the account, while no tab is looked at: a short tone, a notification
// of the browser, each by choice.
// One tab of the browser does it, the one that holds a lock; a tab that is looked at lets it know what it has shown.

import { t } from "./i18n.js";
import { chosen } from "./preferences.js";
import { isMuted } from "./store/conversation_settings.js";
import { notificationHash, notificationText } from "./store/notification_kinds.js";

// What comes in a burst is one alert: so long after its last message, and so long after its first at most.
const QUIET_MS = 1_000, BURST_MS = 5_000;
// Between two alerts at least.
const GAP_MS = 5_000;
const SHOWN_CHARACTERS = 200;

/** Whether this browser can show notifications at all. */
export const canNotify = () => "Notification" in globalThis && "serviceWorker" in navigator;

const looked = () => !document.hidden && document.hasFocus();

export class Alerts {
  constructor(store) {
    this.store = store;
    // By the other person's id: up to which message has been told of or shown.
    this.told = null;
    // By its tag: whom a notification of this page is about.
    this.shown = new Map();
    // Ids of notifications about the account that the browser shows.
    this.accountShown = new Set();
    this.fresh = new Set();
    this.first = 0;
    this.last = -Infinity;
    this.leading = false;
    this.stopped = new AbortController();
    const { signal } = this.stopped;
    this.others = globalThis.BroadcastChannel && new BroadcastChannel(`vestnik-alerts-${store.me.user_id}`);
    this.others?.addEventListener("message", ({ data: [peer, sequence] }) => this.#tellOf(peer, sequence), { signal });
    store.addEventListener("connection", () => store.connected && this.#changed(), { signal });
    store.addEventListener("conversations", () => this.#changed(), { signal });
    store.addEventListener("account_notification", ({ detail }) => this.#accountChanged(detail), { signal });
    store.addEventListener("notifications", () => this.#withdrawRead(), { signal });
    this.#lead();
  }

  close() {
    this.stopped.abort();
    clearTimeout(this.timer);
    this.others?.close();
    this.release?.();
    this.#withdraw(() => true);
    this.accountShown.forEach(withdraw);
  }

  async #lead() {
    const name = `vestnik-alerts-${this.store.me.user_id}`;
    const held = new Promise((resolve) => { this.release = resolve; });
    const lead = () => { this.leading = true; return held; };
    if (!navigator.locks) return lead();
    await navigator.locks.request(name, { signal: this.stopped.signal }, lead).catch(() => {});
  }

  /** Finds what is new in the conversations. What was there when the line first stood is not. */
  #changed() {
    const { store } = this;
    if (!this.told) {
      if (!store.connected) return;
      this.told = new Map([...store.conversations.values()].map((one) => [one.user_id, one.last_message?.sequence ?? 0]));
      return;
    }
    for (const { user_id: peer } of store.conversations.values()) {
      const conversation = store.conversations.get(peer);
      // What came while it was muted does not alert when the mute ends.
      if (isMuted(conversation) && conversation.last_message) this.#tellOf(peer, conversation.last_message.sequence);
      if (!this.#isNew(peer)) continue;
      if (looked()) {
        const { sequence } = store.conversations.get(peer).last_message;
        this.#tellOf(peer, sequence);
        this.others?.postMessage([peer, sequence]);
      } else {
        this.fresh.add(peer);
        this.#wait();
      }
    }
    this.#withdraw((peer) => {
      const { unread_count: unread, last_message: last } = store.conversations.get(peer) ?? {};
      return !unread || last.deleted;
    });
  }

  #isNew(peer) {
    const conversation = this.store.conversations.get(peer) ?? {}, { last_message: last, unread_count: unread } = conversation;
    return unread > 0 && !isMuted(conversation) && last.sender_id !== this.store.me.user_id && last.sequence > (this.told.get(peer) ?? 0);
  }

  #tellOf(peer, sequence) {
    this.told?.set(peer, Math.max(sequence, this.told.get(peer) ?? 0));
  }

  #wait() {
    const now = performance.now();
    if (this.timer === undefined) this.first = now;
    clearTimeout(this.timer);
    const at = Math.max(Math.min(now + QUIET_MS, this.first + BURST_MS), this.last + GAP_MS);
    this.timer = setTimeout(() => this.#alert(), at - now);
  }

  /** Tells of what is still new: not of what was seen elsewhere, or looked at in another tab, in the meantime. */
  #alert() {
    this.timer = undefined;
    const peers = [...this.fresh].filter((peer) => this.#isNew(peer));
    this.fresh.clear();
    const unread = peers.reduce((sum, peer) => sum + this.store.conversations.get(peer).unread_count, 0);
    for (const peer of peers) this.#tellOf(peer, this.store.conversations.get(peer).last_message.sequence);
    if (!peers.length || !this.leading || looked()) return;
    this.last = performance.now();
    if (chosen("sound") === "on") tone();
    if (chosen("notify") === "on") this.#notify(peers, unread);
  }

  /** One notification: the latest message of a conversation, or how much is unread in several. */
  #notify(peers, unread) {
    const [peer] = peers, alone = peers.length === 1;
    const text = alone && chosen("notify_text") !== "off" ? [...this.store.conversations.get(peer).last_message.text].slice(0, SHOWN_CHARACTERS).join("") : "";
    const tag = alone ? peer : "several";
    this.shown.set(tag, peers);
    show(alone && this.store.profiles.get(peer) ? this.store.profiles.nameOf(peer) : t("app"), {
      body: text || t("unread", { n: unread }), tag, renotify: true, silent: true, ...looks(), data: { hash: alone ? `#/chat/${peer}` : "#/" },
    });
  }

  /** Alerts at once: what happened to the account is rare, and may be urgent. */
  #accountChanged(notification) {
    if (!this.leading || looked()) return;
    if (chosen("sound") === "on") tone();
    if (chosen("notify") !== "on") return;
    this.accountShown.add(notification.notification_id);
    show(t("app"), { body: notificationText(notification), tag: notification.notification_id, silent: true, ...looks(), data: { hash: notificationHash(notification) } });
  }

  #withdrawRead() {
    for (const { notification_id: id, read } of this.store.notifications.items) {
      if (read && this.accountShown.delete(id)) withdraw(id);
    }
  }

  /** Takes the notifications away that are all about conversations of a kind. */
  #withdraw(over) {
    for (const [tag, peers] of this.shown) {
      if (!peers.every(over)) continue;
      this.shown.delete(tag);
      withdraw(tag);
    }
  }
}

function looks() {
  return { icon: "/web/icon.svg", lang: document.documentElement.lang };
}

// One call at a time. What is read while its notification is being shown is withdrawn after it; and Chromium forgets a
// notification, so that a click on it does nothing, if notifications are listed while it is being shown.
let turn = Promise.resolve();

function inTurn(act) {
  turn = turn.then(() => navigator.serviceWorker.getRegistration()).then((worker) => worker && act(worker)).catch(() => {});
}

function show(title, options) {
  if (canNotify() && Notification.permission === "granted") inTurn((worker) => worker.showNotification(title, options));
}

function withdraw(tag) {
  if (canNotify()) inTurn(async (worker) => { for (const one of await worker.getNotifications({ tag })) one.close(); });
}

/** Two short notes. Silent where nobody has touched the page yet: browsers want it so. */
export function tone() {
  if (!globalThis.AudioContext) return;
  const audio = new AudioContext(), gain = audio.createGain(), now = audio.currentTime;
  gain.connect(audio.destination);
  gain.gain.setValueAtTime(0.0001, now);
  gain.gain.exponentialRampToValueAtTime(0.15, now + 0.02);
  gain.gain.exponentialRampToValueAtTime(0.0001, now + 0.4);
  const note = audio.createOscillator();
  note.frequency.setValueAtTime(660, now);
  note.frequency.setValueAtTime(880, now + 0.12);
  note.connect(gain);
  note.start(now);
  note.stop(now + 0.4);

  setTimeout(() => audio.close(), 1_000);
}
