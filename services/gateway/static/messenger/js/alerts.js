// Alerts to messages from others, and to changes of the account, while no tab is in use: a short tone, a notification
// of the browser, each by choice.
// Only the tab that holds a lock alerts; a tab that is in use sends the others what it has shown.

import { t } from "./i18n.js";
import { getPreference } from "./preferences.js";
import { isMuted } from "./store/conversation_settings.js";
import { notificationHash, notificationText } from "./store/notification_kinds.js";

// A burst of messages makes one alert: this long after its last message, and at most this long after its first.
const QUIET_MS = 1_000, BURST_MS = 5_000;
// The minimum between two alerts.
const GAP_MS = 5_000;
const SHOWN_CHARACTERS = 200;

/** Whether this browser can show notifications at all. */
export const canNotify = () => "Notification" in globalThis && "serviceWorker" in navigator;

const isPageActive = () => !document.hidden && document.hasFocus();

export class Alerts {
  constructor(store) {
    this.store = store;
    // By the other person's id: the sequence up to which messages were alerted to or shown.
    this.alerted = null;
    // By its tag: whom a notification of this page is about.
    this.shown = new Map();
    // Ids of notifications about the account that the browser shows.
    this.accountShown = new Set();
    this.pendingPeers = new Set();
    this.burstStart = 0;
    this.lastAlert = -Infinity;
    this.isLeader = false;
    this.stopped = new AbortController();
    const { signal } = this.stopped;
    this.otherTabs = globalThis.BroadcastChannel && new BroadcastChannel(`vestnik-alerts-${store.me.user_id}`);
    this.otherTabs?.addEventListener("message", ({ data: [peer, sequence] }) => this.#markAlerted(peer, sequence), { signal });
    store.addEventListener("connection", () => store.connected && this.#changed(), { signal });
    store.addEventListener("conversations", () => this.#changed(), { signal });
    store.addEventListener("account_notification", ({ detail }) => this.#accountChanged(detail), { signal });
    store.addEventListener("notifications", () => this.#withdrawRead(), { signal });
    this.#lead();
  }

  close() {
    this.stopped.abort();
    clearTimeout(this.timer);
    this.otherTabs?.close();
    this.release?.();
    this.#withdraw(() => true);
    this.accountShown.forEach(withdraw);
  }

  async #lead() {
    const name = `vestnik-alerts-${this.store.me.user_id}`;
    const held = new Promise((resolve) => { this.release = resolve; });
    const lead = () => { this.isLeader = true; return held; };
    if (!navigator.locks) return lead();
    await navigator.locks.request(name, { signal: this.stopped.signal }, lead).catch(() => {});
  }

  /** Finds what is new in the conversations. What was there when the stream first opened is not. */
  #changed() {
    const { store } = this;
    if (!this.alerted) {
      if (!store.connected) return;
      this.alerted = new Map([...store.conversations.values()].map((conversation) => [conversation.user_id, conversation.last_message?.sequence ?? 0]));
      return;
    }
    for (const { user_id: peer } of store.conversations.values()) {
      const conversation = store.conversations.get(peer);
      // What came while it was muted does not alert when the mute ends.
      if (isMuted(conversation) && conversation.last_message) this.#markAlerted(peer, conversation.last_message.sequence);
      if (!this.#isNew(peer)) continue;
      if (isPageActive()) {
        const { sequence } = store.conversations.get(peer).last_message;
        this.#markAlerted(peer, sequence);
        this.otherTabs?.postMessage([peer, sequence]);
      } else {
        this.pendingPeers.add(peer);
        this.#schedule();
      }
    }
    this.#withdraw((peer) => {
      const { unread_count: unread, last_message: last } = store.conversations.get(peer) ?? {};
      return !unread || last.deleted;
    });
  }

  #isNew(peer) {
    const conversation = this.store.conversations.get(peer) ?? {}, { last_message: last, unread_count: unread } = conversation;
    return unread > 0 && !isMuted(conversation) && last.sender_id !== this.store.me.user_id && last.sequence > (this.alerted.get(peer) ?? 0);
  }

  #markAlerted(peer, sequence) {
    this.alerted?.set(peer, Math.max(sequence, this.alerted.get(peer) ?? 0));
  }

  #schedule() {
    const now = performance.now();
    if (this.timer === undefined) this.burstStart = now;
    clearTimeout(this.timer);
    const at = Math.max(Math.min(now + QUIET_MS, this.burstStart + BURST_MS), this.lastAlert + GAP_MS);
    this.timer = setTimeout(() => this.#alert(), at - now);
  }

  /** Alerts to what is still new, not to what was read elsewhere or shown in another tab in the meantime. */
  #alert() {
    this.timer = undefined;
    const peers = [...this.pendingPeers].filter((peer) => this.#isNew(peer));
    this.pendingPeers.clear();
    const unread = peers.reduce((sum, peer) => sum + this.store.conversations.get(peer).unread_count, 0);
    for (const peer of peers) this.#markAlerted(peer, this.store.conversations.get(peer).last_message.sequence);
    if (!peers.length || !this.isLeader || isPageActive()) return;
    this.lastAlert = performance.now();
    if (getPreference("sound") === "on") tone();
    if (getPreference("notify") === "on") this.#notify(peers, unread);
  }

  /** One notification: the latest message of a conversation, or how much is unread in several. */
  #notify(peers, unread) {
    const [peer] = peers, alone = peers.length === 1;
    const text = alone && getPreference("notify_text") !== "off" ? [...this.store.conversations.get(peer).last_message.text].slice(0, SHOWN_CHARACTERS).join("") : "";
    const tag = alone ? peer : "several";
    this.shown.set(tag, peers);
    show(alone && this.store.profiles.get(peer) ? this.store.profiles.nameOf(peer) : t("app"), {
      body: text || t("unread", { n: unread }), tag, renotify: true, silent: true, ...appearance(), data: { hash: alone ? `#/chat/${peer}` : "#/" },
    });
  }

  /** Alerts at once: what happened to the account is rare, and may be urgent. */
  #accountChanged(notification) {
    if (!this.isLeader || isPageActive()) return;
    if (getPreference("sound") === "on") tone();
    if (getPreference("notify") !== "on") return;
    this.accountShown.add(notification.notification_id);
    show(t("app"), { body: notificationText(notification), tag: notification.notification_id, silent: true, ...appearance(), data: { hash: notificationHash(notification) } });
  }

  #withdrawRead() {
    for (const { notification_id: id, read } of this.store.notifications.items) {
      if (read && this.accountShown.delete(id)) withdraw(id);
    }
  }

  /** Withdraws each notification whose conversations are all over, as `isOver(peer)` says. */
  #withdraw(isOver) {
    for (const [tag, peers] of this.shown) {
      if (!peers.every(isOver)) continue;
      this.shown.delete(tag);
      withdraw(tag);
    }
  }
}

function appearance() {
  return { icon: "/web/icon.svg", lang: document.documentElement.lang };
}

// One call at a time. What is read while its notification is being shown is withdrawn after it; and Chromium forgets a
// notification, so that a click on it does nothing, if notifications are listed while it is being shown.
let queue = Promise.resolve();

function enqueue(act) {
  queue = queue.then(() => navigator.serviceWorker.getRegistration()).then((worker) => worker && act(worker)).catch(() => {});
}

function show(title, options) {
  if (canNotify() && Notification.permission === "granted") enqueue((worker) => worker.showNotification(title, options));
}

function withdraw(tag) {
  if (canNotify()) enqueue(async (worker) => { for (const notification of await worker.getNotifications({ tag })) notification.close(); });
}

/** Plays two short notes. It is silent before the first input in the page, as browsers require. */
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
