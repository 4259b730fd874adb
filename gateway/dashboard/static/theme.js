// Before anything is drawn: the colours that this viewer chose, or those of the system.
(() => {
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("theme");
    document.documentElement.dataset.bsTheme = chosen ?? (preferred.matches ? "dark" : "light");
  };
  preferred.addEventListener("change", apply);
  apply();
})();
