// What a person who sees little, hears the page read out, or uses no pointer would trip over; a list of findings.
() => {
  const findings = [];
  const visible = (node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && node.getClientRects().length;
  const name = (node) => (node.getAttribute("aria-label") || node.labels?.[0]?.textContent || node.textContent || node.getAttribute("alt") || node.title || "").trim();
  const tell = (node, what) => findings.push(`${what}: ${node.outerHTML.slice(0, 120)}`);
  if (!document.documentElement.lang) findings.push("the page has no language");
  if (!document.title) findings.push("the page has no title");
  if (document.querySelectorAll("main").length !== 1) findings.push("the page has not one main part");
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids.filter((one, place) => ids.indexOf(one) !== place))) findings.push(`two things have the id ${id}`);
  for (const node of document.querySelectorAll("button, a[href], input, textarea, select")) {
    if (visible(node) && !name(node)) tell(node, "has no name");
  }
  for (const node of document.querySelectorAll("img:not([alt])")) tell(node, "a picture without words");
  for (const node of document.querySelectorAll("[aria-describedby]")) {
    if (!node.getAttribute("aria-describedby").split(/\s+/).every((id) => document.getElementById(id))) tell(node, "is described by nothing");
  }
  for (const node of document.querySelectorAll("[tabindex]")) if (node.tabIndex > 0) tell(node, "jumps the queue");
  for (const node of document.querySelectorAll("button, a[href]:not(p a), input, select, textarea")) {
    const box = node.getBoundingClientRect();
    if (visible(node) && !node.matches(".link, .skip") && Math.min(box.width, box.height) < 24) tell(node, "is smaller than 24 pixels");
  }

  // Contrast of text with what is behind it, as WCAG 2.2 has it.
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (text) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) => top.slice(0, 3).map((value, place) => value * (top[3] / 255) + below[place] * (1 - top[3] / 255));
  const light = (rgb) => rgb.map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) layers.push(colour(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    if (!own || !visible(node) || node.closest(".hidden, .skip, :disabled, noscript, option")) continue;
    const style = getComputedStyle(node), ground = behind(node);
    const [one, other] = [light(over(colour(style.color), ground)), light(ground)];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) tell(node, `contrast ${ratio.toFixed(2)}`);
  }
  return findings;
}
