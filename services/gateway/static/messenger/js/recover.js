// Loads the page again where one of its scripts has not come: when the gateway answers, with growing random pauses. It
// runs by itself, before the modules, and so has its own texts.

(() => {
  const FIRST_MS = 1_000, LONGEST_MS = 30_000;
  // A script that takes longer does not come any more.
  const LOADING_MS = 30_000;
  const TRIES = "vestnik.tries";
  const texts = {
    en: "The page could not be loaded. Trying again…",
    ru: "Не удалось загрузить страницу. Пробуем ещё раз…",
  };
  let failed = false, styleFailed = false, timer;

  // Set by main.js, which runs once all of its modules are there.
  const isLoaded = () => document.documentElement.dataset.loaded === "true" && !styleFailed;

  function tries(count) {
    try {
      if (count !== undefined) sessionStorage.setItem(TRIES, count);
      return Number(sessionStorage.getItem(TRIES)) || 0;
    } catch {
      return 3; // not to be counted: pauses of a middle length
    }
  }

  function retryLater() {
    const longest = Math.min(FIRST_MS * 2 ** Math.min(tries(), 10), LONGEST_MS);
    tries(tries() + 1);
    clearTimeout(timer);
    timer = setTimeout(retry, longest * (0.5 + Math.random() / 2));
  }

  async function retry() {
    const isUp = await fetch("/", { cache: "no-store" }).then((answer) => answer.ok, () => false);
    if (isLoaded()) return;
    if (isUp) location.reload();
    else retryLater();
  }

  function recover() {
    if (failed || isLoaded()) return;
    failed = true;
    const status = document.querySelector(".opening [role=status]");
    if (status) status.textContent = navigator.language.startsWith("ru") ? texts.ru : texts.en;
    addEventListener("online", retry);
    retryLater();
  }

  // The error of a script or a style sheet does not bubble; that of a module without a name it imports is the window's.
  addEventListener("error", ({ target }) => {
    styleFailed ||= target.rel === "stylesheet";
    if (styleFailed || target === window || target.tagName === "SCRIPT") recover();
  }, true);
  setTimeout(recover, LOADING_MS);
  addEventListener("load", () => { if (isLoaded()) tries(0); });
})();
