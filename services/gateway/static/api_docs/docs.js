// Shows /openapi.json. Text reaches the page as text nodes only, never as markup.

const METHODS = ["get", "post", "put", "patch", "delete"];
// The operation that access tokens come from.
const LOGIN = "sessions_log_in";

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// The little markup that descriptions use: paragraphs, **strong** and `code`.
function prose(text) {
  return (text ?? "").split(/\n{2,}/).filter((part) => part.trim()).map((part) =>
    element("p", {}, ...part.trim().split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((piece) => {
      if (piece.startsWith("`") && piece.length > 1) return element("code", {}, piece.slice(1, -1));
      if (piece.startsWith("**")) return element("strong", {}, piece.slice(2, -2));
      return piece;
    })));
}

function resolver(spec) {
  return (node) => {
    if (!node?.$ref) return node ?? {};
    return node.$ref.slice(2).split("/").reduce((at, key) => at[key], spec);
  };
}

function kindOf(schema, resolve) {
  const resolved = resolve(schema);
  if (resolved.const !== undefined) return JSON.stringify(resolved.const);
  if (resolved.enum) return resolved.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (resolved.anyOf) return resolved.anyOf.map((option) => kindOf(option, resolve)).join(" | ");
  if (resolved.allOf) return kindOf(resolved.allOf[0], resolve);
  if (resolved.type === "array") return `list of ${kindOf(resolved.items, resolve)}`;
  if (resolved.title && resolved.type === "object") return resolved.title;
  return resolved.format ? `${resolved.type} (${resolved.format})` : String(resolved.type ?? "any");
}

function limitsOf(schema) {
  const words = {
    minLength: "at least", maxLength: "at most", minimum: "from", maximum: "to", pattern: "matches", default: "default",
  };
  return Object.entries(words).filter(([key]) => schema[key] !== undefined && schema[key] !== "").map(([key, word]) =>
    `${word} ${schema[key]}${key.endsWith("Length") ? " characters" : ""}`).join(", ");
}

function objectInside(schema, resolve) {
  const resolved = resolve(schema);
  if (resolved.properties) return resolved;
  if (resolved.type === "array") return objectInside(resolved.items, resolve);
  for (const option of resolved.anyOf ?? []) {
    const inner = objectInside(option, resolve);
    if (inner) return inner;
  }
  return null;
}

function row(name, schema, description, required, resolve) {
  const resolved = resolve(schema);
  const inner = objectInside(schema, resolve);
  return element("tr", {},
    element("td", {}, element("code", {}, name), required ? "" : element("span", { class: "soft" }, " optional")),
    element("td", {}, ...prose(description ?? resolved.description),
      element("span", { class: "soft" }, [kindOf(schema, resolve), limitsOf(resolved)].filter(Boolean).join(", ")),
      inner ? element("div", { class: "nested" }, fields(inner, resolve)) : null));
}

function fields(schema, resolve) {
  const required = new Set(schema.required ?? []);
  return element("table", {}, element("tbody", {}, ...Object.entries(schema.properties ?? {}).map(([name, property]) =>
    row(name, property, property.description, required.has(name), resolve))));
}

function content(media, resolve) {
  return Object.entries(media ?? {}).flatMap(([type, { schema }]) => {
    const inner = schema && objectInside(schema, resolve);
    return [element("span", { class: "soft" }, type), inner ? element("div", { class: "nested" }, fields(inner, resolve)) : null];
  });
}

function responses(operation, resolve) {
  return element("table", {}, element("tbody", {}, ...Object.entries(operation.responses).map(([status, shared]) => {
    const answer = resolve(shared);
    return element("tr", {}, element("td", {}, element("code", {}, status)), element("td", {}, ...prose(answer.description),
      ...(Number(status) < 400 ? content(answer.content, resolve) : [])));
  })));
}

function operationView(path, method, operation, resolve) {
  const lock = operation.security.length === 0 ? ["Needs no access token."]
    : ["Needs an access token, from a ", element("a", { href: `#${LOGIN}` }, "login"), "."];
  const body = element("div", { class: "body" }, ...prose(operation.description), element("p", { class: "lock" }, ...lock));
  if (operation.parameters?.length) {
    body.append(element("h3", {}, "Parameters"), element("table", {}, element("tbody", {}, ...operation.parameters.map(resolve).map((parameter) =>
      row(`${parameter.name}`, parameter.schema, `${parameter.description ?? ""} In the ${parameter.in}.`, parameter.required, resolve)))));
  }
  if (operation.requestBody) {
    body.append(element("h3", {}, "Body"), ...content(operation.requestBody.content, resolve).filter(Boolean));
  }
  body.append(element("h3", {}, "Answers"), responses(operation, resolve));
  return element("details", { class: "operation", id: operation.operationId },
    element("summary", {}, element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("span", { class: "path" }, path), element("span", { class: "what" }, operation.summary)), body);
}

function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target) { target.open = true; target.scrollIntoView(); }
}

async function show() {
  const about = document.getElementById("about");
  const answer = await fetch("/openapi.json");
  if (!answer.ok) { about.textContent = `The description could not be loaded: ${answer.status}.`; return; }
  const spec = await answer.json();
  const resolve = resolver(spec);
  document.getElementById("title").textContent = spec.info.title;
  about.replaceWith(...prose(spec.info.description),
    element("p", { class: "soft" }, "For programs: ", element("a", { href: "/openapi.json" }, "/openapi.json"),
      ", and for live events and the WebSocket ", element("a", { href: "/asyncapi.json" }, "/asyncapi.json")));
  const contents = document.getElementById("contents");
  const operations = document.getElementById("operations");
  for (const { name } of spec.tags) {
    contents.append(element("h2", {}, name));
    operations.append(element("h2", {}, name));
    for (const [path, methods] of Object.entries(spec.paths)) {
      for (const method of METHODS.filter((candidate) => methods[candidate]?.tags.includes(name))) {
        const operation = methods[method];
        contents.append(element("a", { href: `#${operation.operationId}` }, operation.summary));
        operations.append(operationView(path, method, operation, resolve));
      }
    }
  }
  addEventListener("hashchange", openTarget);
  openTarget();
}

show().catch((error) => { document.getElementById("about").textContent = `The description could not be shown: ${error.message}`; });
