// Forms: each field has a label, hints, and beside it what is wrong with it. A form is checked here before the gateway
// is asked; what the gateway refuses is put beside the field that it is about, all else at the form's end.

import { el, icon } from "./dom.js";
import { errorText, fieldErrorText, number, t } from "./i18n.js";

// What the gateway takes: lengths in characters as it counts them, which are code points.
const RULES = {
  bio: { most: 500 },
  // Of an authenticator app.
  code: { pattern: /^\p{Nd}{6}$/u },
  comment: { most: 1000 },
  display_name: { most: 64 },
  email: { most: 254, pattern: /^[^@\s]{1,64}@(?:[^@\s.]+\.)+[^@\s.]+$/u },
  password: { least: 8, bytes: 1024 },
  // The same, or a recovery code.
  totp: { pattern: /^(?:\p{Nd}{6}|[a-z2-7]{16})$/iu },
  username: { least: 3, most: 32, pattern: /^[A-Za-z0-9_.]+$/ },
};
// The field that a refusal is about, by its code.
const FIELDS = { invalid_token: "token", invalid_totp: "totp", password_required: "password", token_expired: "token", username_taken: "username" };

/**
 * A form: `fields` are `[name, label, properties]`. `submit(values)` may return what to say when it is done; texts reach
 * it trimmed, passwords as they are. `errors`: where a refusal belongs in this form, `{code: [field, key of its text]}`.
 *
 * The form's `refuse(error)` shows a refusal of something else that was asked for it, `say(text)` what was done.
 */
export function form({ title, intro, fields, action, submit, errors = {}, more = [], level = "h2" }) {
  const outcome = el("p", { class: "outcome", role: "status" });
  const problem = el("p", { class: "problem", role: "alert" });
  const button = el("button", { class: "primary", type: "submit" }, action);
  const inputs = new Map(fields.map(([name, label, properties]) => [name, field(name, label, properties)]));
  let busy = false;

  function say(text) {
    outcome.textContent = text;
    problem.textContent = "";
  }

  /** Shows the problems of fields beside them and the others at the end, and focuses the first wrong field. */
  function showProblems(fieldProblems, otherProblems = "") {
    outcome.textContent = "";
    problem.textContent = otherProblems;
    for (const [name, control] of inputs) control.mark(fieldProblems.get(name) ?? "");
    [...inputs].find(([name]) => fieldProblems.has(name))?.[1].input.focus();
  }

  function refuse(error) {
    const fieldProblems = new Map(), otherProblems = new Set();
    for (const [name, text] of refusals(error, errors)) {
      if (!inputs.has(name)) otherProblems.add(text);
      else if (!fieldProblems.has(name)) fieldProblems.set(name, text);
    }
    showProblems(fieldProblems, [...otherProblems].join(" "));
  }

  async function send() {
    const fieldProblems = new Map([...inputs].map(([name, control]) => [name, control.check()]).filter(([, text]) => text));
    showProblems(fieldProblems);
    if (fieldProblems.size) return;
    const message = await submit(Object.fromEntries([...inputs].map(([name, control]) => [name, control.value()])));
    if (message) say(message);
  }

  const node = el("form", { novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    // A disabled button would lose the focus.
    button.setAttribute("aria-disabled", "true");
    try {
      await send();
    } catch (error) {
      refuse(error);
    } finally {
      busy = false;
      button.removeAttribute("aria-disabled");
    }
  } },
  title && el(level, { tabindex: fields.length ? undefined : "-1" }, title),
  intro && el("p", { class: "said", role: "status" }, intro),
  [...inputs.values()].map((control) => control.node),
  problem, outcome, button, more);
  return Object.assign(node, { refuse, say });
}

/** Pairs of a field's name, undefined where it is about no field, and the text of the problem. */
function refusals(error, own) {
  if (error.code === "invalid" && error.errors?.length) return error.errors.map((fieldError) => [fieldError.path.slice(1), fieldErrorText(fieldError)]);
  const [name, key] = own[error.code] ?? [FIELDS[error.code]];
  return [[name, key ? t(key) : errorText(error)]];
}

/**
 * `rule`: what the gateway takes, where this form must keep to it; `count`: shows how much of that is used; `compact`:
 * without the spaces and hyphens that codes are written with.
 */
function field(name, label, { hint, rule, count, compact, tag = "input", ...properties }) {
  const id = `field-${name}`, limits = RULES[rule] ?? {}, secret = properties.type === "password";
  const input = el(tag, { id, name, ...(secret ? { spellcheck: "false", autocapitalize: "none" } : {}), ...properties,
    aria: { invalid: "false" }, oninput: () => { showCount(); if (problem.textContent) mark(check()); } });
  const problem = el("p", { class: "wrong", id: `${id}-wrong` });
  const help = hint && el("small", { id: `${id}-hint` }, hint);
  const used = count && el("small", { class: "count", id: `${id}-count` });

  const value = () => (compact ? input.value.replace(/[\s\p{Pd}]/gu, "") : secret ? input.value : input.value.trim().replace(/\r\n?/g, "\n"));

  function check() {
    const text = value(), characters = [...text].length;
    const { least = 0, most = Infinity, bytes = Infinity, pattern } = limits;
    if (!text) return properties.required ? t("e_required") : "";
    const fits = characters >= least && characters <= most && new TextEncoder().encode(text).length <= bytes;
    return fits && (!pattern || pattern.test(text)) ? "" : t(`e_at_${rule}`);
  }

  function mark(text) {
    problem.textContent = text;
    input.setAttribute("aria-invalid", String(Boolean(text)));
    // What is wrong names the same bounds as the hint, unless the field is empty.
    if (help) help.hidden = Boolean(text && value());
    const described = [text && problem, help, used].filter((element) => element && !element.hidden).map((element) => element.id).join(" ");
    if (described) input.setAttribute("aria-describedby", described);
    else input.removeAttribute("aria-describedby");
  }

  function showCount() {
    if (!used) return;
    const characters = [...value()].length;
    used.textContent = t("count", { n: number(characters), most: number(limits.most) });
    used.classList.toggle("over", characters > limits.most);
  }

  showCount();
  mark("");
  const node = el("div", { class: "field" }, el("label", { for: id }, label),
    secret ? el("div", { class: "secret" }, input, revealButton(input, label)) : input,
    problem, help, used);
  return { node, input, value, check, mark };
}

/** A button that shows a password and hides it again; the caret stays where it is. */
function revealButton(input, label) {
  const button = el("button", { class: "reveal", type: "button", title: t("reveal", { field: label }), aria: { label: t("reveal", { field: label }), controls: input.id, pressed: "false" },
    // The focus stays in the field.
    onmousedown: (event) => event.preventDefault(),
    onclick: () => {
      const hidden = input.type === "password", { selectionStart, selectionEnd } = input;
      input.type = hidden ? "text" : "password";
      // Some browsers put the caret elsewhere when the type changes.
      if (document.activeElement === input) input.setSelectionRange(selectionStart, selectionEnd);
      button.setAttribute("aria-pressed", String(hidden));
    } }, icon("eye"));
  return button;
}
