// A modal dialog, which is removed when it is closed.

import { el } from "../dom.js";

/** Opens it and returns it. The browser gives the focus back when it is closed. */
export function openDialog(properties, ...children) {
  const dialog = el("dialog", properties, ...children);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
