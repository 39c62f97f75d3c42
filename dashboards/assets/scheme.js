/* Runs before anything is drawn: the ground has the right colour from the first frame. */
(function () {
  let kept = null;
  try { kept = localStorage.getItem("mantine-color-scheme-value"); } catch (error) { kept = null; }
  const dark = kept === "dark" ||
    (kept !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
