// The operators' page's texts; they are in i18n/, a file a language.

import { currentLanguage, locale } from "../i18n.js";
import ENGLISH from "./i18n/en.js";
import RUSSIAN from "./i18n/ru.js";

export const WORDS = { en: ENGLISH, ru: RUSSIAN };

/** A phrase; `n` chooses its plural, names in braces are replaced. */
export function say(key, values = {}) {
  let phrase = WORDS[currentLanguage()][key] ?? ENGLISH[key] ?? key;
  if (typeof phrase === "object") phrase = phrase[new Intl.PluralRules(currentLanguage()).select(values.n)] ?? phrase.other;
  return phrase.replace(/\{(\w+)\}/g, (whole, name) => (name === "n" ? number(values.n) : values[name] ?? whole));
}

/** A word that the interface has by a name; the name itself where there is no word yet. */
export function word(prefix, name) {
  const key = `${prefix}_${name}`;
  return key in ENGLISH ? say(key) : name;
}

export function number(value, digits = 0) {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digits, minimumFractionDigits: 0 }).format(value);
}

export function rate(value) {
  return number(value, value < 10 ? 1 : 0);
}

export function percent(value) {
  return new Intl.NumberFormat(locale(), { style: "percent" }).format(value);
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

export function size(bytes) {
  let value = bytes, step = 0;
  for (; value >= 1000 && step < UNITS.length - 1; step += 1) value /= 1000;
  return new Intl.NumberFormat(locale(), { style: "unit", unit: UNITS[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: value < 10 && step ? 1 : 0 }).format(value);
}

export function span(seconds) {
  const [value, unit] = seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
  return new Intl.NumberFormat(locale(), { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 0 }).format(value);
}

/** With the second, and the day where it is not today. */
export function moment(when) {
  const at = new Date(when);
  const time = at.toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString(locale(), { day: "numeric", month: "short" })}, ${time}`;
}
