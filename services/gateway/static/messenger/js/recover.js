// Loads the page again where one of its scripts has not come: when the gateway answers, with growing random pauses. It
// runs by itself, before the modules, and so has its own texts.

(() => {
  const FIRST_MS = 1_000, LONGEST_MS = 30_000;
  // A script that is on its way for longer does not come.
  const LOADING_MS = 30_000;
  const TRIES = "vestnik.tries";
  const texts = {
    en: "The page could not be loaded. Trying again…",
    ru: "Не удалось загрузить страницу. Пробуем ещё раз…",
  };
  let failed = false, bare = false, timer;

  // Set by main.js, which runs once all of its modules are there.
  const whole = () => document.documentElement.dataset.loaded === "true" && !bare;

  function tries(count) {
    try {
      if (count !== undefined) sessionStorage.setItem(TRIES, count);
      return Number(sessionStorage.getItem(TRIES)) || 0;
    } catch {
      return 3; // not to be counted: pauses of a middle length
    }
  }

  function later() {
    const longest = Math.min(FIRST_MS * 2 ** Math.min(tries(), 10), LONGEST_MS);
    tries(tries() + 1);
    clearTimeout(timer);
    timer = setTimeout(again, longest * (0.5 + Math.random() / 2));
  }

  async function again() {
    const answers = await fetch("/", { cache: "no-store" }).then((answer) => answer.ok, () => false);
    if (whole()) return;
    if (answers) location.reload();
    else later();
  }

  function recover() {
    if (failed || whole()) return;
    failed = true;
    const place = document.querySelector(".opening [role=status]");
    if (place) place.textContent = navigator.language.startsWith("ru") ? texts.ru : texts.en;
    addEventListener("online", again);
    later();
  }

  // The error of a script or a style sheet does not bubble; that of a module without a name it imports is the window's.
  addEventListener("error", ({ target }) => {
    bare ||= target.rel === "stylesheet";
    if (bare || target === window || target.tagName === "SCRIPT") recover();
  }, true);
  setTimeout(recover, LOADING_MS);
  addEventListener("load", () => { if (whole()) tries(0); });
})();
