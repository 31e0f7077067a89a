// What outlives a closed page, in IndexedDB: messages and changes that wait to be sent, drafts, and the last state seen, so that the
// messenger opens without a connection. Where the browser allows none of it, everything works but the keeping.
// The store "seen" has the last state under the id of the person it belongs to, and drafts under
// [that id, "draft", the other person's id]: one more store would need a new version, which open tabs of an older page
// would block.

const NAME = "vestnik", VERSION = 1;
let opening = null;

function open() {
  opening ??= new Promise((resolve) => {
    if (!globalThis.indexedDB) return resolve(null);
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("unsent", { keyPath: "id" });
      request.result.createObjectStore("seen");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
    request.onblocked = () => resolve(null);
  });
  return opening;
}

async function transact(store, mode, work) {
  const database = await open();
  if (!database) return undefined;
  return new Promise((resolve) => {
    const transaction = database.transaction(store, mode);
    const request = work(transaction.objectStore(store));
    // Without it the browser commits after the request's answer, and a reload in between discards what was written.
    transaction.commit?.();
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = transaction.onerror = () => resolve(undefined);
  });
}

/** Resolves when it is on disk, to its id then. */
export const keepUnsent = (message) => transact("unsent", "readwrite", (store) => store.put(message));
/** The entry as it is on disk, null where it is gone, undefined where the disk cannot be read. */
export const readUnsent = async (id) => {
  const entries = await transact("unsent", "readonly", (store) => store.getAll(id));
  return entries && (entries[0] ?? null);
};
export const dropUnsent = (id) => transact("unsent", "readwrite", (store) => store.delete(id));
export const unsentOf = async (owner) =>
  ((await transact("unsent", "readonly", (store) => store.getAll())) ?? [])
    .filter((entry) => entry.owner === owner).sort((first, second) => first.at - second.at);

export const saveLastState = (key, value) => transact("seen", "readwrite", (store) => store.put(value, key));
export const loadLastState = (key) => transact("seen", "readonly", (store) => store.get(key));

/** Everything under [owner, "draft", …]; an array sorts behind every text. */
const allDrafts = (owner) => IDBKeyRange.bound([owner, "draft"], [owner, "draft", []]);
export const keepDraft = (owner, draft) => transact("seen", "readwrite", (store) => store.put(draft, [owner, "draft", draft.peer]));
export const dropDraft = (owner, peer) => transact("seen", "readwrite", (store) => store.delete([owner, "draft", peer]));
export const draftsOf = async (owner) =>
  (await transact("seen", "readonly", (store) => store.getAll(allDrafts(owner)))) ?? [];

/** What a person has read here is forgotten; what they wrote and did not send waits for them. */
export const forgetLastStateOf = (owner) => transact("seen", "readwrite", (store) => store.delete(owner));

/** Nothing of a person is left on this device; what others have here stays theirs. */
export async function forgetAllOf(owner) {
  for (const { id } of await unsentOf(owner)) await dropUnsent(id);
  await transact("seen", "readwrite", (store) => store.delete(allDrafts(owner)));
  await forgetLastStateOf(owner);
}
