// A QR code, drawn from the modules that the gateway has computed.

import { el } from "../../dom.js";

// Light modules around it, which scanners need.
const MARGIN = 4;

/** `rows`: a text for each row, `1` where it is dark. `label`: what it is, for screen readers. */
export function qrCode(rows, label) {
  const side = rows.length + 2 * MARGIN;
  const modules = rows.flatMap((row, y) => [...row.matchAll(/1+/g)].map(({ 0: dark, index: x }) => `M${x + MARGIN} ${y + MARGIN}h${dark.length}v1h-${dark.length}z`));
  return el("svg", { class: "qr", viewBox: `0 0 ${side} ${side}`, role: "img", aria: { label } }, el("path", { d: modules.join("") }));
}
