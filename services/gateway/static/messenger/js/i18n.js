// The messenger's texts, plurals and times in the language chosen; the texts are in i18n/, a file a language.

import ENGLISH from "./i18n/en.js";
import RUSSIAN from "./i18n/ru.js";

export const LANGUAGES = { en: "English", ru: "Русский" };
export const WORDS = { en: ENGLISH, ru: RUSSIAN };
let language = "en", region = "en";

export function currentLanguage() {
  return language;
}

/** The language that was chosen, else the first of the browser's that we speak. */
export function chooseLanguage(chosen) {
  const wanted = [chosen, ...navigator.languages].map((tag) => tag?.slice(0, 2)).find((code) => code in WORDS);
  language = wanted ?? "en";
  // The user's regional format of times and numbers, in the chosen language.
  region = navigator.languages.find((tag) => tag.slice(0, 2) === language) ?? language;
  document.documentElement.lang = language;
  document.title = t("app");
}

/** The language with its region, for times and numbers. */
export function locale() {
  return region;
}

/** A phrase; `n` chooses its plural, names in braces are replaced. */
export function t(key, values = {}) {
  let phrase = WORDS[language][key] ?? ENGLISH[key] ?? key;
  if (typeof phrase === "object") phrase = phrase[new Intl.PluralRules(language).select(values.n)] ?? phrase.other;
  return phrase.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The phrase of one of the gateway's values; the general phrase of the kind for a value that is newer than this page. */
export function word(kind, value, values) {
  const key = `${kind}_${value}`;
  return t(key in ENGLISH ? key : `${kind}_other`, values);
}

/** What went wrong, in words: an error of the interface by its code. */
export function errorText(error) {
  if (error?.code === "invalid") return [...new Set(error.errors?.map(fieldErrorText))].join(" ") || t("e_invalid");
  const key = `e_${error?.code}`;
  return t(key in ENGLISH ? key : "e_other", { wait: duration(error?.retryAfter || 1) });
}

/** What is wrong with one field: by the error's own code, else by the field. */
export function fieldErrorText({ path, code }) {
  const keys = [`e_${code}`, `e_at${path.replaceAll("/", "_")}`];
  return t(keys.find((key) => key in ENGLISH) ?? "e_invalid");
}

const MINUTE = 60, HOUR = 3600, DAY = 86_400;

/** A length of time in words, rounded up to what one counts in. */
function duration(seconds) {
  const [key, unit] = seconds < 2 * MINUTE ? ["seconds", 1] : seconds < 2 * HOUR ? ["minutes", MINUTE] : seconds < 2 * DAY ? ["hours", HOUR] : ["days", DAY];
  return t(key, { n: Math.ceil(seconds / unit) });
}

/** How long ago it was, in words. */
export function ago(when) {
  const seconds = (Date.now() - new Date(when)) / 1000;
  if (seconds < MINUTE) return t("just_now");
  const [unit, size] = seconds < HOUR ? ["minute", MINUTE] : seconds < DAY ? ["hour", HOUR] : ["day", DAY];
  return new Intl.RelativeTimeFormat(region, { numeric: "auto" }).format(-Math.floor(seconds / size), unit);
}

export function number(value) {
  return new Intl.NumberFormat(region).format(value);
}

// Each is created once: that takes longer than to use it, and a long conversation uses it hundreds of times.
const formats = new Map();

function formatDate(when, options) {
  const key = `${region} ${JSON.stringify(options)}`;
  let format = formats.get(key);
  if (!format) formats.set(key, format = new Intl.DateTimeFormat(region, options));
  return format.format(when instanceof Date ? when : new Date(when));
}

export function clock(when) {
  return formatDate(when, { hour: "2-digit", minute: "2-digit" });
}

export function day(when) {
  const moment = new Date(when), now = new Date();
  const age = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(moment).setHours(0, 0, 0, 0)) / 86_400_000);
  if (age === 0) return t("today");
  if (age === 1) return t("yesterday");
  return formatDate(moment, { day: "numeric", month: "long", ...(moment.getFullYear() === now.getFullYear() ? {} : { year: "numeric" }) });
}

/** As short as a list wants it: the time today, else the day. */
export function briefTime(when) {
  const moment = new Date(when);
  if (moment.toDateString() === new Date().toDateString()) return clock(when);
  return formatDate(moment, { day: "numeric", month: "short" });
}

export function fullTime(when) {
  return formatDate(when, { dateStyle: "medium", timeStyle: "short" });
}
