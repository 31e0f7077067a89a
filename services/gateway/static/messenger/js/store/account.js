// The user's own account: its address, and whether two-step verification is on. It is on no disk.

import * as api from "../api.js";
import { isAboutAccount } from "./notification_kinds.js";

export class Account {
  constructor(store) {
    this.store = store;
    // Null until it is loaded.
    this.details = null;
    // Why it could not be loaded.
    this.error = null;
    this.events = { "notification.created": (notification) => { if (isAboutAccount(notification)) this.#reload(); } };
  }

  onConnected() {
    this.#reload();
  }

  async load() {
    try {
      this.details = await api.get("/v1/users/me");
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    this.store.changed("account");
  }

  /** Loads it again if a view has asked for it before. */
  #reload() {
    if (this.details || this.error) this.load();
  }
}
