// The theme follows the system until the button is pressed.
startFronts();
startObjects();
const button = at("theme");
const told = () => { button.textContent = isDark() ? "Light" : "Dark"; };
button.hidden = false;
told();
button.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  told();
  drawAll();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { told(); drawAll(); });
// Paper is white: the charts of a dark page are drawn again for it, and back afterwards.
for (const [when, now] of [["beforeprint", true], ["afterprint", false]])
  addEventListener(when, () => {
    printing = now;
    if (isDark() !== shownDark) drawAll();
  });
drawAll();
