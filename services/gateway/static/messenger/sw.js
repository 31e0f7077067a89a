// Opens the messenger without a connection: keeps the files of one release, and nothing that people write.
// The gateway declares before this line: RELEASE, the name; FILES, the digest of each file by its path; VIEW, the
// pattern of the paths that open the messenger.

const PREFIX = "vestnik-", CACHE = PREFIX + RELEASE;
// How long the gateway may take to say which release it has.
const RELEASE_TIMEOUT_MS = 3_000;
// Pages that get their files from the gateway: those of another release, and the operators' page.
const networkPages = new Set();

// All files or none. A gateway with another release fails the digests, and the next visit tries again.
self.addEventListener("install", (event) => {
  const requests = Object.entries(FILES).map(([path, integrity]) => new Request(path, { integrity, cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)).then(() => self.skipWaiting()));
  // Where the browser can, requests of the interface do not wait for the worker to start.
  event.addRoutes?.({ condition: { urlPattern: { pathname: "/v1/*" } }, source: "network" }).catch(() => {});
});

self.addEventListener("activate", (event) => event.waitUntil((async () => {
  // They were opened with another release.
  for (const page of await self.clients.matchAll({ includeUncontrolled: true })) networkPages.add(page.id);
  await self.clients.claim();
  for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== CACHE) await caches.delete(name);
})()));

self.addEventListener("fetch", (event) => {
  const { request } = event, { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (request.mode === "navigate") {
    if (new RegExp(VIEW).test(pathname)) event.respondWith(respondWithPage(event));
    else networkPages.add(event.resultingClientId);
  } else if (pathname !== "/" && Object.hasOwn(FILES, pathname) && !networkPages.has(event.clientId)) {
    event.respondWith(fromCache(pathname).then((cached) => cached ?? fetch(request)));
  }
});

/** The page that is kept, unless the gateway answers with another release; then that, and its files from the gateway. */
async function respondWithPage({ request, resultingClientId }) {
  const cached = await fromCache("/");
  const fetching = fetch(request);
  try {
    const answer = await (cached ? withTimeout(fetching) : fetching);
    if (cached && (answer.headers.get("Vestnik-Release") === RELEASE || answer.status >= 500)) return cached;
    networkPages.add(resultingClientId);
    return answer;
  } catch {
    return cached ?? Response.error();
  }
}

function withTimeout(promise) {
  return Promise.race([promise, new Promise((_, reject) => setTimeout(reject, RELEASE_TIMEOUT_MS))]);
}

// A notification opens its conversation in the page that was looked at last, or in a new one.
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(openConversation(event.notification.data.hash));
});

async function openConversation(hash) {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find(({ url }) => new RegExp(VIEW).test(new URL(url).pathname));
  if (!page) return self.clients.openWindow(`/${hash}`);
  page.postMessage({ open: hash });
  return page.focus();
}

const fromCache = (path) => caches.match(path, { cacheName: CACHE, ignoreVary: true }).catch(() => undefined);
