// How a message's menu opens other than by its button: the context-menu key, Shift+F10 or Enter on a message, or a long
// press. The arrow keys move among the messages once the focus is in their list.

const LONG_PRESS_MS = 500;
// A finger that moves further than this scrolls.
const STILL_PX = 10;

const openMenu = (row) => row?.querySelector(".more")?.click();

/** Listens on the list of messages. */
export function listenToGestures(log) {
  let press = null;

  const endPress = () => clearTimeout(press?.timer);

  log.addEventListener("keydown", (event) => {
    const row = event.target.closest(".message");
    if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey) || (event.key === "Enter" && event.target === row)) {
      event.preventDefault();
      openMenu(row);
    } else if (["ArrowUp", "ArrowDown"].includes(event.key) && !event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      neighbour(log, row, event.key === "ArrowUp" ? -1 : 1)?.focus();
    }
  });
  log.addEventListener("pointerdown", (event) => {
    endPress();
    press = null;
    if (event.pointerType !== "touch" || !event.isPrimary) return;
    const { clientX: x, clientY: y, target } = event;
    press = { x, y };
    press.timer = setTimeout(() => {
      openMenu(target.closest(".message"));
      ignoreNextClick();
    }, LONG_PRESS_MS);
  });
  log.addEventListener("pointermove", ({ clientX: x, clientY: y }) => {
    if (press && Math.hypot(x - press.x, y - press.y) > STILL_PX) endPress();
  });
  for (const kind of ["pointerup", "pointercancel"]) log.addEventListener(kind, endPress);
  // The browser's own menu, which a long press opens too; a pointer's right button keeps it.
  log.addEventListener("contextmenu", (event) => { if (press) event.preventDefault(); });
}

/** The finger that is lifted after a long press activates nothing: neither what it lies on nor what has opened below it. */
function ignoreNextClick() {
  const listening = new AbortController(), options = { capture: true, signal: listening.signal };
  document.addEventListener("click", (event) => {
    event.preventDefault();
    event.stopPropagation();
    listening.abort();
  }, options);
  document.addEventListener("pointerdown", () => listening.abort(), options);
}

/** The message before or after one; without one, the last that is in view. */
function neighbour(log, row, step) {
  const rows = [...log.querySelectorAll(".message")];
  if (row) return rows[rows.indexOf(row) + step];
  const { bottom } = log.getBoundingClientRect();
  return rows.findLast((candidate) => candidate.getBoundingClientRect().top < bottom);
}
