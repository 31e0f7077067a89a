// Pauses between the tries of a request that failed. Each is twice as long as the one before, up to a bound, and random
// by half, so that many pages do not try at the same moment.

// A longer `Retry-After` is shortened to this; a browser's timers overflow beyond 24 days and fire at once.
const MAX_RETRY_AFTER_MS = 3_600_000;

/** One pause in milliseconds: `delay` with jitter, but at least `retryAfter` seconds where that is a number. */
export function backoffDelay(delay, retryAfter) {
  const requested = retryAfter > 0 ? Math.min(retryAfter * 1000, MAX_RETRY_AFTER_MS) : 0;
  return Math.max(delay * (0.5 + Math.random() / 2), requested);
}

export class Backoff {
  #next;
  #shorten = () => {};
  #end = () => {};

  constructor(first, longest) {
    this.first = first;
    this.longest = longest;
    this.#next = first;
  }

  /** The next pause is the first again. */
  reset() {
    this.#next = this.first;
  }

  /**
   * Waits. The return of the network, or of the reader to the page, shortens the wait, but neither below half of the
   * first pause nor below `retryAfter`.
   */
  async wait(retryAfter) {
    const begun = performance.now(), least = Math.max(backoffDelay(0, retryAfter), this.first / 2);
    const delay = Math.max(backoffDelay(this.#next, retryAfter), least);
    this.#next = Math.min(2 * this.#next, this.longest);
    const onVisible = () => document.hidden || this.wake();
    const onOnline = () => this.wake();
    window.addEventListener("online", onOnline);
    document.addEventListener("visibilitychange", onVisible);
    let timer;
    await new Promise((resolve) => {
      this.#end = resolve;
      this.#shorten = () => {
        clearTimeout(timer);
        timer = setTimeout(resolve, Math.max(0, least - (performance.now() - begun)));
      };
      timer = setTimeout(resolve, delay);
    });
    clearTimeout(timer);
    this.#end = this.#shorten = () => {};
    window.removeEventListener("online", onOnline);
    document.removeEventListener("visibilitychange", onVisible);
  }

  /** Tries sooner, since something suggests that the next try succeeds. */
  wake() {
    this.reset();
    this.#shorten();
  }

  /** Ends the wait at once. */
  stop() {
    this.#end();
  }
}
