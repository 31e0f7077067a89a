// What somebody has chosen on this device, and who was here last: nothing secret.

const PREFIX = "vestnik.";
const listeners = [];

function storage(work) {
  try {
    return work(localStorage);
  } catch {
    return null; // storage may be forbidden: then nothing is remembered
  }
}

export function chosen(name) {
  return storage((kept) => kept.getItem(PREFIX + name));
}

/** Keeps a choice that changes nothing that is shown. */
export function keep(name, value) {
  storage((kept) => kept.setItem(PREFIX + name, value));
}

/** Keeps a choice and draws everything again by it. */
export function choose(name, value) {
  keep(name, value);
  for (const listener of listeners) listener();
}
choose.listen = (listener) => listeners.push(listener);

const PENDING_HOURS = 24;

/** A registration that waits for its mail, `{email, login}`: never its password. Null after a day, or where there is none. */
export function pending() {
  try {
    const { at, ...found } = JSON.parse(chosen("pending"));
    return Date.now() - at < PENDING_HOURS * 3_600_000 ? found : null;
  } catch {
    return null;
  }
}

export function rememberPending(found) {
  storage((kept) => (found ? kept.setItem(`${PREFIX}pending`, JSON.stringify({ ...found, at: Date.now() })) : kept.removeItem(`${PREFIX}pending`)));
}

/** Who was logged in here: lets the messenger open without a connection. */
export function me() {
  const known = chosen("me");
  return known ? { user_id: known } : null;
}

export function rememberMe(who) {
  storage((kept) => (who ? kept.setItem(`${PREFIX}me`, who.user_id) : kept.removeItem(`${PREFIX}me`)));
}

/** When the accounts are deleted whose deletion was requested, by user id. */
export function erasures() {
  try {
    return JSON.parse(chosen("erasures")) ?? {};
  } catch {
    return {};
  }
}

/** `at`: null where it is not to be deleted any more, or was. */
export function rememberErasure(owner, at) {
  const { [owner]: known, ...others } = erasures();
  if (at || known) keep("erasures", JSON.stringify(at ? { ...others, [owner]: at } : others));
}
