// On paper every chart has the share of the page that its style gives it as --on-paper, all of it without one.
// What is folded on the screen stays folded.
(() => {
  const charts = () => document.querySelectorAll(".js-plotly-plot");
  const PAGE = 1000; // CSS pixels of A4 landscape between its margins
  window.addEventListener("beforeprint", () => charts().forEach((chart) => {
    const share = Number(getComputedStyle(chart).getPropertyValue("--on-paper")) || 1;
    Plotly.relayout(chart, { autosize: false, width: share * PAGE });
  }));
  window.addEventListener("afterprint", () => charts().forEach((chart) => {
    Plotly.relayout(chart, { autosize: true, width: null });
  }));
})();
