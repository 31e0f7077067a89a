// Links in what people write: addresses of http and https become elements, everything else stays text. The text of all
// parts together is the text that was written, character for character.

import { el } from "./dom.js";

// Ends at white space, at control characters and those that cannot be seen or change the direction of writing, and at
// signs around an address that are in none.
const ADDRESS = /https?:\/\/[^\p{Z}\p{C}<>"«»“”„`。，、！？；：（）［］【】「」『』《》〈〉]+/giu;
// A scheme is no scheme in the middle of another word.
const IN_A_WORD = /[a-z0-9_+-]$/i;
// Belongs to the sentence around an address, at its end.
const PUNCTUATION = /[.,:;!?'’‘…*]$/;
const LATIN = /\p{Script=Latin}/u, NOT_LATIN = /(?!\p{Script=Latin})\p{L}/u;
const OPENING = { ")": "(", "]": "[", "}": "{" };

/** The parts of a text: strings and links. */
export function linkify(text) {
  const parts = [];
  let from = 0;
  for (const { 0: candidate, index } of text.matchAll(ADDRESS)) {
    if (IN_A_WORD.test(text.slice(Math.max(0, index - 1), index))) continue;
    const shown = trimAddress(candidate), url = parseUrl(shown);
    if (!url) continue;
    parts.push(text.slice(from, index), link(shown, url));
    from = index + shown.length;
  }
  parts.push(text.slice(from));
  return parts.filter((part) => part !== "");
}

/** Without the punctuation of the sentence, and without brackets that were opened before the address. */
function trimAddress(address) {
  for (let shown = address; ;) {
    const last = shown.at(-1), opening = OPENING[last];
    const unopened = opening && shown.split(last).length > shown.split(opening).length;
    if (!unopened && !PUNCTUATION.test(shown)) return shown;
    shown = shown.slice(0, -1);
  }
}

/** The URL of an address; null for what is none, and for one with a user name before its host, which misleads. */
function parseUrl(shown) {
  let url;
  try {
    url = new URL(shown);
  } catch {
    return null;
  }
  return ["http:", "https:"].includes(url.protocol) && !url.username && !url.password ? url : null;
}

/**
 * Shown as it was written. A host that a browser asks for by another name, such as one with letters beyond ASCII, has
 * that in its title; one that mixes scripts, and may look like another host, has it behind the link as well.
 */
function link(shown, url) {
  const [, host] = shown.match(/:\/+([^/?#]*)/);
  const other = host.toLowerCase().includes(url.hostname) ? null : url.hostname;
  return el("a", {
    href: url.href, target: "_blank", rel: "noopener noreferrer nofollow", dir: "ltr", title: other,
    data: other && LATIN.test(host) && NOT_LATIN.test(host) ? { host: other } : {},
  }, shown);
}
