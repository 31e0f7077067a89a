// Elements without a template language: text is always text, so nothing that people write can become markup.

/** Makes an element. `on…` properties are listeners, `data` and `aria` are spread, others are attributes or properties. */
export function el(tag, props = {}, ...children) {
  const node = tag === "svg" || tag === "path"
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "aria") for (const [key, state] of Object.entries(value)) node.setAttribute(`aria-${key}`, state);
    else if (name === "value" || name === "checked" || name === "disabled") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Replaces all that is in a node. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Fills a node again. The part that has the focus keeps it, by its `data-part`; where it is gone, the node gets it. */
export function refill(node, ...children) {
  const focused = node.contains(document.activeElement) && document.activeElement !== node ? document.activeElement.dataset.part ?? "" : undefined;
  fill(node, children);
  if (focused !== undefined) ([...node.querySelectorAll("[data-part]")].find((part) => part.dataset.part === focused) ?? node).focus({ preventScroll: true });
}

const SHAPES = {
  archive: "M4 5h16v4H4zM5.5 9v10.5h13V9M10 13h4",
  back: "M15 5l-7 7 7 7",
  bell: "M6 17h12l-1.5-2.5V10a4.5 4.5 0 0 0-9 0v4.5zM10 20h4",
  chart: "M4 4v16h16M8 15l3.5-4 3 2.5L20 7",
  block: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM6.4 6.4l11.2 11.2",
  chats: "M4 5h16v11H9l-5 4z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  checks: "M2 12.5l4.5 4.5L15 7.5M10.5 16l1.5 1L21.5 7.5",
  clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4.5l3 2",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  down: "M6 9l6 6 6-6",
  edit: "M4 20l1-4.5L16 4.5l3.5 3.5L8.5 19zM13.5 7l3.5 3.5",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  flag: "M6 21V4M6 5h11l-2.5 4L17 13H6",
  gear: "M12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM12 3v2.5M12 18.5V21M3 12h2.5M18.5 12H21M5.6 5.6l1.8 1.8M16.6 16.6l1.8 1.8M5.6 18.4l1.8-1.8M16.6 7.4l1.8-1.8",
  list: "M9 6h11M9 12h11M9 18h11M4.5 6h.01M4.5 12h.01M4.5 18h.01",
  more: "M12 5.5h.01M12 12h.01M12 18.5h.01",
  muted: "M6 17h12l-1.5-2.5V10a4.5 4.5 0 0 0-9 0v4.5zM10 20h4M4 4l16 16",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20a6.5 6.5 0 0 1 13 0M16 4.5a3.5 3.5 0 0 1 0 6.5M18 14.5a6.5 6.5 0 0 1 3.5 5.5",
  pin: "M9 4h6l-.8 6 3.3 3.5h-11L9.8 10zM12 13.5V21",
  reply: "M10 6l-6 6 6 6M4 12h9a7 7 0 0 1 7 7",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L21 21",
  send: "M4 12l16-8-5 16-3.5-6.5z",
  shield: "M12 3.5l7 2.5v5.5c0 4.5-3 7.5-7 9-4-1.5-7-4.5-7-9V6zM12 8.5v4.5M12 16v.5",
  smile: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM8.5 14a4 4 0 0 0 7 0M9 9.5h.01M15 9.5h.01",
  trash: "M5 7h14M9.5 7V4.5h5V7M7 7l1 12.5h8L17 7M10.5 10.5v6M13.5 10.5v6",
  warn: "M12 4l9 16H3zM12 10v4M12 17v.5",
};

/** A picture out of lines, for the eye alone: whoever uses it gives its meaning in words. */
export function icon(name) {
  return el("svg", { viewBox: "0 0 24 24", class: "icon", aria: { hidden: "true" } }, el("path", { d: SHAPES[name] }));
}

/** A round sign of a person: no picture is fetched from anywhere, since that would tell others who looks at whom. */
export function avatar(profile, size = "") {
  const name = profile?.display_name || profile?.username || "?";
  const initial = [...name.trim()].slice(0, 1).join("").toUpperCase() || "?";
  let hue = 0;
  for (const character of profile?.user_id ?? name) hue = (hue * 31 + character.codePointAt(0)) % 12;
  return el("span", { class: `avatar hue-${hue} ${size}`, aria: { hidden: "true" } }, initial);
}
