// What somebody has chosen on this device, and who was here last: nothing secret.

const PREFIX = "vestnik.";
const listeners = [];

function withStorage(work) {
  try {
    return work(localStorage);
  } catch {
    return null; // storage may be forbidden: then nothing is remembered
  }
}

export function getPreference(name) {
  return withStorage((storage) => storage.getItem(PREFIX + name));
}

/** Keeps a choice that changes nothing that is shown. */
export function savePreference(name, value) {
  withStorage((storage) => storage.setItem(PREFIX + name, value));
}

/** Keeps a choice and draws everything again by it. */
export function changePreference(name, value) {
  savePreference(name, value);
  for (const listener of listeners) listener();
}
changePreference.listen = (listener) => listeners.push(listener);

const PENDING_HOURS = 24;

/** A registration that waits for its mail, `{email, login}`: never its password. Null after a day, or where there is none. */
export function pendingRegistration() {
  try {
    const { at, ...registration } = JSON.parse(getPreference("pending"));
    return Date.now() - at < PENDING_HOURS * 3_600_000 ? registration : null;
  } catch {
    return null;
  }
}

export function rememberRegistration(registration) {
  withStorage((storage) => (registration ? storage.setItem(`${PREFIX}pending`, JSON.stringify({ ...registration, at: Date.now() })) : storage.removeItem(`${PREFIX}pending`)));
}

/** Who was logged in here: lets the messenger open without a connection. */
export function lastUser() {
  const known = getPreference("me");
  return known ? { user_id: known } : null;
}

export function rememberUser(user) {
  withStorage((storage) => (user ? storage.setItem(`${PREFIX}me`, user.user_id) : storage.removeItem(`${PREFIX}me`)));
}

/** When the accounts are deleted whose deletion was requested, by user id. */
export function pendingErasures() {
  try {
    return JSON.parse(getPreference("erasures")) ?? {};
  } catch {
    return {};
  }
}

/** `at`: null where it is not to be deleted any more, or was. */
export function rememberErasure(owner, at) {
  const { [owner]: known, ...others } = pendingErasures();
  if (at || known) savePreference("erasures", JSON.stringify(at ? { ...others, [owner]: at } : others));
}
