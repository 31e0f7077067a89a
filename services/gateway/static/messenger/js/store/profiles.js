// Profiles of people, fetched when a view first asks for one.

import * as api from "../api.js";
import { currentLanguage, t } from "../i18n.js";
import { Backoff } from "../backoff.js";
import { changePreference, getPreference, savePreference } from "../preferences.js";

const MOST_REQUESTS = 6;
const FIRST_PAUSE_MS = 500, LONGEST_PAUSE_MS = 15_000;
// Profiles that arrive within this time make one change.
const NOTIFY_AFTER_MS = 60;

export class Profiles {
  constructor(store) {
    this.store = store;
    this.byId = new Map();
    this.wanted = new Set();
    this.fetching = new Set();
    // Ids without a profile: asked for once per connection.
    this.unknown = new Set();
    // A promise while a failure delays further requests.
    this.delay = null;
    this.backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    this.events = { "profile.updated": (profile) => this.#updated(profile) };
  }

  onConnected() {
    this.unknown.clear();
    this.backoff.wake();
  }

  stop() {
    this.backoff.stop();
  }

  restore(profiles) {
    this.byId = new Map(profiles.map((profile) => [profile.user_id, profile]));
    this.store.changed("profile");
  }

  values() {
    return this.byId.values();
  }

  /** A user's profile; one that is not known yet is fetched, and `profile` changes when it is there. */
  get(userId) {
    const known = this.byId.get(userId);
    if (!known && !this.wanted.has(userId) && !this.unknown.has(userId)) {
      this.wanted.add(userId);
      this.#fetchWanted();
    }
    return known;
  }

  nameOf(userId) {
    const profile = this.get(userId);
    if (profile?.deleted) return t("deleted_account");
    return profile ? profile.display_name || profile.username : "…";
  }

  /** A user's username with its sign; empty while it is not known, and of a deleted account. */
  handleOf(userId) {
    const profile = this.get(userId);
    return profile && !profile.deleted ? `@${profile.username}` : "";
  }

  /** Whether the account is known to be deleted. */
  isDeleted(userId) {
    return this.byId.get(userId)?.deleted ?? false;
  }

  remember(...profiles) {
    for (const profile of profiles) {
      // A public profile, as a search finds it, has none of one's own settings.
      const own = profile.user_id === this.store.me.user_id ? this.byId.get(profile.user_id) : {};
      this.byId.set(profile.user_id, { ...own, ...profile });
      this.wanted.delete(profile.user_id);
      if (profile.deleted) this.#erase(profile.user_id);
    }
    this.store.changed("profile");
  }

  #updated(profile) {
    this.remember(profile);
    // Otherwise the page has the name again when it is loaded from the browser's cache, for some minutes.
    if (profile.deleted) api.profile(profile.user_id, { cache: "reload" }).catch(() => {});
  }

  /** The user's own profile and settings; `language` is that of the pages on all devices. */
  async loadOwn() {
    this.#rememberOwn(await api.get("/v1/profiles/me"));
    const unsaved = getPreference(this.#unsavedLanguage);
    if (unsaved) await this.changeLanguage(unsaved);
  }

  /** Changes the language of the pages here, and on the other devices as soon as the server has it. */
  async changeLanguage(language) {
    savePreference(this.#unsavedLanguage, language);
    changePreference("language", language);
    await this.changeOwn({ language });
    savePreference(this.#unsavedLanguage, "");
  }

  get #unsavedLanguage() {
    return `language_unsaved.${this.store.me.user_id}`;
  }

  /** Changes the user's own profile or settings. Throws `Refused`. */
  async changeOwn(values) {
    this.#rememberOwn(await api.request("PATCH", "/v1/profiles/me", { body: values }));
  }

  #rememberOwn(profile) {
    this.remember(profile);
    if (!getPreference(this.#unsavedLanguage) && profile.language && profile.language !== currentLanguage()) changePreference("language", profile.language);
  }

  /** Fetches what is wanted, a few at a time; after a failure none before the pause is over. */
  #fetchWanted() {
    for (const userId of this.wanted) {
      if (this.store.closed || this.delay || this.fetching.size >= MOST_REQUESTS) return;
      if (!this.fetching.has(userId)) this.#fetch(userId);
    }
  }

  async #fetch(userId) {
    this.fetching.add(userId);
    try {
      this.byId.set(userId, await api.profile(userId));
      this.wanted.delete(userId);
      if (this.isDeleted(userId)) this.#erase(userId);
      this.backoff.reset();
      this.#notifySoon();
    } catch (error) {
      if (error.passing) {
        this.delay ??= this.backoff.wait(error.retryAfter).then(() => { this.delay = null; });
        await this.delay;
      } else {
        this.wanted.delete(userId);
        this.unknown.add(userId);
        this.#notifySoon();
      }
    } finally {
      this.fetching.delete(userId);
    }
    this.#fetchWanted();
  }

  /** Drops what is loaded of what a person has written. */
  #erase(userId) {
    const { messages, conversations } = this.store;
    messages.applyAllChanges(userId);
    conversations.applyAllChanges(userId);
    this.store.changed("messages", userId);
  }

  #notifySoon() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.store.changed("profile");
    }, NOTIFY_AFTER_MS);
  }
}
