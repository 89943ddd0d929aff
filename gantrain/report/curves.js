// Draws the chosen metric, and each scalar once it is scrolled into view.
(() => {
  const data = JSON.parse(document.getElementById("curves-data").textContent);
  const root = document.getElementById("curves");
  const shown = new Set(data.groups.filter((v) => v.shown).map((v) => v.place));
  const axes = { steps: "generator steps", images: "real images seen by D", seconds: "training seconds" };
  const MOST_WITH_SEEDS = 6; // groups in a small chart
  let axis = "steps";
  const checked = (id) => document.getElementById(id)?.checked ?? false;
  const faint = (color, opacity) => {
    const part = (from) => parseInt(color.slice(from, from + 2), 16);
    return `rgba(${part(1)},${part(3)},${part(5)},${opacity})`;
  };

  const LOG_FROM = 6; // ratio of the largest to the smallest value from which a metric starts on a log scale
  const spansDecades = (key) => {
    const values = data.curves[key].flatMap((curve) => curve.mean);
    return Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > LOG_FROM;
  };

  // On a log scale a band that reaches 0 or less ends at the smallest value that is drawn.
  const floor = (key) => Math.min(...data.curves[key].flatMap((curve) => [curve.mean, ...curve.runs.map((run) => run.y)])
    .flat().filter((value) => value > 0));

  const traces = (key, small) => {
    const bands = [], seeds = [], means = [];
    const lowest = !small && checked("log") ? floor(key) : -Infinity;
    for (const curve of data.curves[key]) {
      if (!shown.has(curve.group)) continue;
      const group = data.groups[curve.group];
      const x = data.grids[curve.grid][axis];
      const at = [...x.keys()].filter((i) => curve.std[i] !== null && x[i] !== null);
      if (at.length > 1) {
        const there = at.map((i) => x[i]);
        bands.push({
          x: [...there, ...[...there].reverse()],
          y: [...at.map((i) => curve.mean[i] + curve.std[i]), ...[...at].reverse().map((i) => Math.max(lowest, curve.mean[i] - curve.std[i]))],
          fill: "toself", fillcolor: faint(group.color, 0.13), line: { width: 0 }, mode: "lines", hoverinfo: "skip",
        });
      }
      if (checked("seeds") && (!small || shown.size <= MOST_WITH_SEEDS)) {
        const line = { x: [], y: [] };
        for (const run of curve.runs) {
          line.x.push(...data.grids[run.grid][axis], null);
          line.y.push(...run.y, null);
        }
        seeds.push({ ...line, mode: "lines", line: { color: faint(group.color, 0.4), width: 0.8 }, hoverinfo: "skip" });
      }
      means.push({
        x, y: curve.mean, name: group.label,
        mode: x.length > 40 ? "lines" : "lines+markers",
        marker: { size: small ? 3 : 5, color: group.color },
        line: { color: group.color, width: small ? 1.6 : 2.4, dash: group.dash },
        text: curve.mean.map((_, i) => (curve.std[i] === null ? "" : ` ± ${Number(curve.std[i].toPrecision(2))}`) + `, ${curve.count[i]} seed${curve.count[i] === 1 ? "" : "s"}`),
        hovertemplate: "%{fullData.name}: %{y:.5~g}%{text}<extra></extra>",
      });
    }
    return [...bands, ...seeds, ...means];
  };

  const layout = (title, small) => ({
    title: { text: title, font: { size: small ? 13 : 15 }, x: 0, xref: "paper", xanchor: "left" },
    margin: { l: 52, r: 8, t: 34, b: 42 }, showlegend: false, hovermode: "closest",
    paper_bgcolor: "#fff", plot_bgcolor: "#fff", font: { family: "system-ui, sans-serif", size: 12, color: "#1c2733" },
    xaxis: { title: { text: axes[axis], font: { size: 11 } }, gridcolor: "#e8ecf0", zeroline: false, rangemode: "tozero", nticks: small ? 5 : 8 },
    yaxis: { gridcolor: "#e8ecf0", zeroline: false, type: !small && checked("log") ? "log" : "linear", automargin: true },
  });
  const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const draw = (place, key, small) => Plotly.react(place, traces(key, small), layout(data.titles[key], small), config);

  const chosen = document.getElementById("metric");
  const large = document.getElementById("chart-metric");
  const panels = [...root.querySelectorAll("[data-scalar]")];
  const seen = new Set();
  const drawFigure = () => large && draw(large, chosen.value, false);
  const drawPanel = (panel) => draw(panel, panel.dataset.scalar, true);
  const drawAll = () => { drawFigure(); seen.forEach(drawPanel); };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting || seen.has(entry.target)) continue;
      seen.add(entry.target);
      drawPanel(entry.target);
    }
  }, { rootMargin: "200px" });
  panels.forEach((panel) => watcher.observe(panel));
  const choose = () => {
    document.getElementById("log").checked = spansDecades(chosen.value);
    drawFigure();
  };
  if (chosen) choose();
  window.addEventListener("beforeprint", () => panels.forEach((panel) => {
    if (!seen.has(panel)) { seen.add(panel); drawPanel(panel); }
  }));

  chosen?.addEventListener("change", choose);
  for (const id of ["log", "seeds"]) document.getElementById(id)?.addEventListener("change", drawAll);
  for (const button of root.querySelectorAll("[data-axis]")) {
    button.addEventListener("click", () => {
      axis = button.dataset.axis;
      for (const one of root.querySelectorAll("[data-axis]")) one.setAttribute("aria-pressed", String(one === button));
      drawAll();
    });
  }
  const chips = [...root.querySelectorAll("[data-group]")];
  const show = (places) => {
    shown.clear();
    places.forEach((place) => shown.add(place));
    for (const chip of chips) chip.setAttribute("aria-pressed", String(shown.has(Number(chip.dataset.group))));
    drawAll();
  };
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      const place = Number(chip.dataset.group);
      show(shown.has(place) ? [...shown].filter((one) => one !== place) : [...shown, place]);
    });
  }
  for (const button of root.querySelectorAll("[data-few]")) {
    const few = button.dataset.few;
    const places = few === "all" ? data.groups.map((v) => v.place) : few === "none" ? [] : few.split(",").map(Number);
    button.addEventListener("click", () => show(places));
  }
})();
