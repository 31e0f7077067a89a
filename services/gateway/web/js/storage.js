// What outlives a closed page, in IndexedDB: messages that wait to be sent, and the last state seen, so that the
// messenger opens without a connection. Where the browser allows none of it, everything works but the keeping.

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

async function within(store, mode, work) {
  const database = await open();
  if (!database) return undefined;
  return new Promise((resolve) => {
    const transaction = database.transaction(store, mode);
    const request = work(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = transaction.onerror = () => resolve(undefined);
  });
}

/** Resolves when it is on disk. */
export const keepUnsent = (message) => within("unsent", "readwrite", (store) => store.put(message));
export const dropUnsent = (id) => within("unsent", "readwrite", (store) => store.delete(id));
export const unsentOf = async (owner) =>
  ((await within("unsent", "readonly", (store) => store.getAll())) ?? [])
    .filter((one) => one.owner === owner).sort((one, other) => one.at - other.at);

export const keepSeen = (key, value) => within("seen", "readwrite", (store) => store.put(value, key));
export const seen = (key) => within("seen", "readonly", (store) => store.get(key));

/** At logging out nothing of a person is left behind; what others have here stays theirs. */
export async function forgetAllOf(owner) {
  for (const { id } of await unsentOf(owner)) await dropUnsent(id);
  await within("seen", "readwrite", (store) => store.delete(owner));
}
