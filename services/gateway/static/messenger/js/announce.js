// Says to screen readers what has changed.

const REMOVE_AFTER_MS = 10_000;
const MOST = 5;

/** Adds a text to the page's live region, which is read out and not seen. */
export function announce(text) {
  const region = document.getElementById("notes"), line = document.createElement("p");
  line.textContent = text;
  region.append(line);
  while (region.childElementCount > MOST) region.firstElementChild.remove();
  setTimeout(() => line.remove(), REMOVE_AFTER_MS);
}
