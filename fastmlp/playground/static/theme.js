// Runs before the page is drawn, so that it does not flash in the wrong colours.
"use strict";

(() => {
  const names = ["auto", "light", "dark"];
  let theme = "auto";
  try {
    theme = localStorage.getItem("fastmlp-theme") ?? "auto";
  } catch {
    // Storage may be forbidden: then the choice lasts as long as the page.
  }
  if (!names.includes(theme)) theme = "auto";

  function apply() {
    document.documentElement.dataset.theme = theme;
    window.dispatchEvent(new Event("themechange"));
  }

  apply();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);

  window.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = button.querySelector("span");
    const show = () => {
      const word = theme[0].toUpperCase() + theme.slice(1);
      label.textContent = word;
      button.setAttribute("aria-label", `Colours: ${word}`);
    };
    show();
    button.addEventListener("click", () => {
      theme = names[(names.indexOf(theme) + 1) % names.length];
      try {
        localStorage.setItem("fastmlp-theme", theme);
      } catch {
        // As above.
      }
      show();
      apply();
    });
  });
})();
