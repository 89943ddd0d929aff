// On paper every chart is as wide as its part of the page; what is folded on the screen stays folded.
(() => {
  const charts = () => document.querySelectorAll(".js-plotly-plot");
  const PAGE = 1000; // CSS pixels of A4 landscape between its margins
  window.addEventListener("beforeprint", () => charts().forEach((chart) => {
    Plotly.relayout(chart, { autosize: false, width: chart.classList.contains("small") ? PAGE / 2 - 12 : PAGE });
  }));
  window.addEventListener("afterprint", () => charts().forEach((chart) => {
    Plotly.relayout(chart, { autosize: true, width: null });
  }));
})();
