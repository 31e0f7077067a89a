// Pauses between the tries of a request that failed. Each is twice as long as the one before, up to a bound, and random
// by half, so that many pages do not try at the same moment.

// A longer `Retry-After` is shortened to this; a browser's timers overflow beyond 24 days and fire at once.
const MOST_ASKED_MS = 3_600_000;

/** One pause in milliseconds: `growing` with jitter, but at least `retryAfter` seconds where that is a number. */
export function pauseFor(growing, retryAfter) {
  const asked = retryAfter > 0 ? Math.min(retryAfter * 1000, MOST_ASKED_MS) : 0;
  return Math.max(growing * (0.5 + Math.random() / 2), asked);
}

export class Pauses {
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
    const begun = performance.now(), least = Math.max(pauseFor(0, retryAfter), this.first / 2);
    const whole = Math.max(pauseFor(this.#next, retryAfter), least);
    this.#next = Math.min(2 * this.#next, this.longest);
    const seen = () => document.hidden || this.wake();
    const back = () => this.wake();
    window.addEventListener("online", back);
    document.addEventListener("visibilitychange", seen);
    let timer;
    await new Promise((resolve) => {
      this.#end = resolve;
      this.#shorten = () => {
        clearTimeout(timer);
        timer = setTimeout(resolve, Math.max(0, least - (performance.now() - begun)));
      };
      timer = setTimeout(resolve, whole);
    });
    clearTimeout(timer);
    this.#end = this.#shorten = () => {};
    window.removeEventListener("online", back);
    document.removeEventListener("visibilitychange", seen);
  }

  /** There is reason to believe that the next try succeeds. */
  wake() {
    this.reset();
    this.#shorten();
  }

  /** Ends the wait at once. */
  stop() {
    this.#end();
  }
}
