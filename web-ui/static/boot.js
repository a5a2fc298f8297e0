// Sets the chosen theme before the first paint, then loads the page.
(() => {
  try {
    const theme = localStorage.getItem("anode-theme");
    if (theme) document.documentElement.dataset.theme = theme;
  } catch {
    // Storage is shut: the system's theme it is.
  }
  import("/web_ui.js")
    .then((page) => page.default({ module_or_path: "/web_ui_bg.wasm" }))
    .catch((error) => {
      console.error(error);
      const show = () => {
        const words = document.getElementById("loading-words");
        if (words) words.textContent = `This page could not start (${error}). Reload it; the API works without it, see /api/docs.`;
      };
      if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", show);
      else show();
    });
})();
