// Light or dark as the system says, unless somebody chose. Runs before the first paint, so that nothing flashes.
(() => {
  const chosen = () => localStorage.getItem("dashboard-theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const now = () => chosen() ?? (dark.matches ? "dark" : "light");
  const show = () => {
    document.documentElement.dataset.theme = now();
    const button = document.getElementById("theme");
    if (button) {
      const other = now() === "dark" ? "light" : "dark";
      button.textContent = other === "light" ? "Light" : "Dark";
      button.setAttribute("aria-label", `Change to the ${other} theme`);
    }
    dispatchEvent(new Event("themechange"));
  };
  show();
  dark.addEventListener("change", show);
  addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      localStorage.setItem("dashboard-theme", now() === "dark" ? "light" : "dark");
      show();
    });
  });
})();
