// Popovers beside what they belong to: a menu of actions, or any content. The focus goes into them and, after Escape or
// a choice, back to where it was.

import { el } from "../dom.js";

const MARGIN_PX = 8;
let closeOpen = () => {};

/** Closes the popover that is open; at most one is. */
export function closePopover() {
  closeOpen();
}

/** Opens a popover at the button that it belongs to; returns a function that closes it. */
export function openPopover(content, anchor) {
  closeOpen();
  const before = document.activeElement, listening = new AbortController(), { signal } = listening;
  const close = () => {
    if (!content.isConnected) return;
    listening.abort();
    anchor.setAttribute("aria-expanded", "false");
    // A click elsewhere has moved the focus already.
    const hadFocus = content.contains(document.activeElement) || document.activeElement === document.body;
    content.remove();
    if (hadFocus) before?.focus({ preventScroll: true });
  };
  closeOpen = close;
  anchor.setAttribute("aria-expanded", "true");
  content.classList.add("popover");
  // "manual": the browser's own way would close it when the finger of a long press is lifted.
  content.setAttribute("popover", "manual");
  document.body.append(content);
  content.showPopover();
  position(content, anchor);
  content.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    close();
  });
  document.addEventListener("pointerdown", ({ target }) => content.contains(target) || close(), { signal, capture: true });
  // Tab leads out of it; a menu keeps Tab to itself, and the finger that is lifted after a long press may move the focus.
  if (content.getAttribute("role") !== "menu") document.addEventListener("focusin", ({ target }) => content.contains(target) || close(), { signal });
  window.addEventListener("hashchange", close, { signal });
  window.addEventListener("resize", () => position(content, anchor), { signal });
  return close;
}

/** Opens a menu at its button. An item: {icon, text, action, danger?}. Its action is called once the menu is closed. */
export function openMenu(label, items, anchor) {
  const buttons = items.map(({ text, icon, action, danger }) => el("button", {
    type: "button", role: "menuitem", tabindex: "-1", class: danger ? "danger" : "", onclick: () => { close(); action(); },
  }, icon, text));
  const menu = el("div", { class: "menu", role: "menu", aria: { label }, onkeydown: (event) => moveFocus(event, buttons) }, buttons);
  const close = openPopover(menu, anchor);
  buttons[0].focus();
}

function moveFocus(event, buttons) {
  const index = buttons.indexOf(document.activeElement), count = buttons.length;
  const next = { ArrowDown: (index + 1) % count, ArrowUp: (index - 1 + count) % count, Home: 0, End: count - 1 }[event.key];
  if (event.key === "Tab") event.preventDefault();
  if (next === undefined) return;
  event.preventDefault();
  buttons[next].focus();
}

/** Puts it below the element, or above where there is no room, towards the middle of the page and inside it. */
function position(content, anchor) {
  const { left, right, top, bottom } = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = content, { clientWidth, clientHeight } = document.documentElement;
  const below = bottom + height + MARGIN_PX <= clientHeight, leftmost = left + right > clientWidth ? right - width : left;
  const within = (value, most) => Math.max(MARGIN_PX, Math.min(value, most - MARGIN_PX));
  content.style.setProperty("left", `${within(leftmost, clientWidth - width)}px`);
  content.style.setProperty("top", `${within(below ? bottom : top - height, clientHeight - height)}px`);
}
