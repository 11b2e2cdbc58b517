// Light, dark, or as the system has it. A classic script, so that it runs before the first paint and nothing flashes.
(() => {
  let kept = null;
  try {
    kept = localStorage.getItem("headrace.theme");
  } catch {
    // A browser that keeps nothing shows what the system shows.
  }
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
