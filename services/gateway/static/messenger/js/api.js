// Requests to the gateway: the access token is in this module's memory alone, the refresh token in a cookie that no
// script can read. A request that meets an outdated token gets the next one and is repeated once.

/** What the gateway refused, by its stable code; `offline` where there was no answer at all. */
export class Refused extends Error {
  constructor(problem, status, retryAfter = 0) {
    super(problem.detail || problem.code);
    this.code = problem.code || "other";
    this.detail = problem.detail || "";
    this.errors = problem.errors;
    this.status = status;
    this.retryAfter = retryAfter;
    // Of a registration that was never verified: where its mail went.
    this.email = problem.email || "";
    this.offline = status === 0;
    // Whether the same request may succeed later.
    this.passing = status === 0 || status === 429 || status === 502 || status === 503 || status === 504;
  }
}

const SESSIONS = "/v1/browser/sessions";
const EARLY_MS = 30_000;
const TIMEOUT_MS = 20_000;

let access = null;
// The user of this page. A token of another user, who logged in in another tab, is not used.
let owner = null;
let refreshing = null;
let onEnded = () => {};
let extraHeaders = () => ({});

/** `callback` is called with the code when the session turns out to be over. */
export function onSessionEnded(callback) {
  onEnded = callback;
}

/** `make()` returns headers that each request gets besides its own. */
export function addHeaders(make) {
  extraHeaders = make;
}

/** Who is logged in: `{user_id, session_id}`, or null. */
export function currentSession() {
  return access && { user_id: access.user_id, session_id: access.session_id };
}

/** Whether the login of this page has cancelled a deletion of the account. */
export function hasCancelledErasure() {
  return access?.erasure_cancelled === true;
}

/** `totp`: the code of an account with two-step verification; without it such a login is refused with `totp_required`. */
export async function logIn(login, password, totp) {
  setTokens(await request("POST", SESSIONS, { body: { login, password, device: device(), totp }, anonymous: true }));
}

/** Sets the user of this page, where it is shown before there is a token. */
export function setOwner(userId) {
  owner = userId;
}

/** Resumes the session of the cookie. Throws `Refused` where there is none. */
export async function resume() {
  await refresh();
  return currentSession();
}

export async function logOut() {
  try {
    await request("DELETE", `${SESSIONS}/current`);
  } finally {
    forget();
  }
}

/** Forgets the session, which is over already: sends nothing. */
export function forget() {
  access = owner = null;
}

/** An access token that does not expire immediately. */
export async function token() {
  if (!access || Date.now() > access.until - EARLY_MS) await refresh();
  return access.access_token;
}

/**
 * One request; its answer's JSON, or null. `anonymous`: without an access token.
 * Throws `Refused`.
 */
export async function request(method, path, { body, headers = {}, anonymous = false, type = "application/json", position, cache = "no-cache" } = {}) {
  let answer = await send(method, path, body, headers, anonymous, type, cache);
  // Another 401 says that a password is wrong: the same request once more would be another try of it.
  if (answer.status === 401 && !anonymous && access && (await refusal(answer.clone())).code === "unauthenticated") {
    await refresh(access.access_token);
    answer = await send(method, path, body, headers, anonymous, type, cache);
  }
  position?.(answer.headers.get("Vestnik-Position"));
  return read(answer);
}

export const get = (path) => request("GET", path);
export const put = (path, body) => request("PUT", path, { body });
export const post = (path, body) => request("POST", path, { body });
export const remove = (path) => request("DELETE", path);

/** A file, however long it takes to load. Throws `Refused`. */
export async function file(path) {
  const answer = await send("GET", path, undefined, {}, false, undefined, "no-store", null);
  if (!answer.ok) throw await refusal(answer);
  if (answer.status !== 200) throw new Refused({ code: "not_found" }, answer.status);
  try {
    return await answer.blob();
  } catch {
    // The connection was lost in the middle.
    throw new Refused({ code: "offline" }, 0);
  }
}

/** A profile, which needs no login and may come from the browser's cache; with `cache: "reload"` it replaces the one there. */
export async function profile(userId, { cache = "default" } = {}) {
  return request("GET", `/v1/profiles/${userId}`, { anonymous: true, cache });
}

/**
 * All items of a list, loaded page by page, with the other fields of its pages. The list has everything up to the position
 * `since`; the live stream after the returned `position` has what is not in it.
 */
export async function all(path, { most = 1000, since = null } = {}) {
  const headers = since ? { "Vestnik-Position": since } : {};
  const items = [];
  let position = null, fields = {};
  for (let cursor = null; ; ) {
    const mark = path.includes("?") ? "&" : "?";
    const page = await request("GET", `${path}${mark}limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`,
      { headers, position: (value) => { position ??= value; } });
    items.push(...page.items);
    fields = { ...fields, ...page };
    cursor = page.next;
    if (!cursor || items.length >= most) return { ...fields, items, position };
  }
}

async function send(method, path, body, headers, anonymous, type, cache, timeout = TIMEOUT_MS) {
  const sent = { ...extraHeaders(), ...headers };
  if (body !== undefined) sent["Content-Type"] = type;
  if (!anonymous) sent.Authorization = `Bearer ${await token()}`;
  try {
    return await fetch(path, {
      method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body),
      cache, signal: timeout && AbortSignal.timeout(timeout),
    });
  } catch {
    throw new Refused({ code: "offline" }, 0);
  }
}

async function read(answer) {
  if (!answer.ok) throw await refusal(answer);
  const body = answer.status === 204 ? "" : await answer.text();
  return body ? JSON.parse(body) : null;
}

/** The error in an answer that is not a success. */
export async function refusal(answer) {
  let problem = {};
  try {
    problem = await answer.json();
  } catch { /* a proxy's own page says nothing that we could show */ }
  return new Refused(problem, answer.status, Number(answer.headers.get("Retry-After")) || 0);
}

// Tabs share the cookie and refresh one at a time, so that each uses the token that the previous one received.
function refresh(stale) {
  refreshing ??= withRefreshLock(async () => {
    if (access && stale && access.access_token !== stale) return;
    try {
      const tokens = await request("POST", `${SESSIONS}/refresh`, { anonymous: true });
      if (owner && tokens.user_id !== owner) throw new Refused({ code: "someone_else" }, 401);
      setTokens(tokens);
    } catch (error) {
      if (!error.passing) {
        access = null;
        onEnded(error.code);
      }
      throw error;
    }
  }).finally(() => { refreshing = null; });
  return refreshing;
}

function withRefreshLock(work) {
  return navigator.locks ? navigator.locks.request("vestnik-refresh", work) : work();
}

function setTokens(tokens) {
  access = { ...tokens, until: Date.now() + tokens.expires_in * 1000 };
  owner = tokens.user_id;
}

function device() {
  const agent = navigator.userAgent;
  const browser = /Firefox/.test(agent) ? "Firefox" : /Edg\//.test(agent) ? "Edge" : /Chrome/.test(agent) ? "Chrome" : /Safari/.test(agent) ? "Safari" : "Browser";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Mac/.test(agent) ? "macOS" : /Windows/.test(agent) ? "Windows" : /Linux/.test(agent) ? "Linux" : "";
  return `Vestnik web, ${browser}${system ? `, ${system}` : ""}`;
}
