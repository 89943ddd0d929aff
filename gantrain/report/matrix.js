(() => {
  const start = () => {
    const maps = document.getElementById("matrix-maps");
    if (!maps) return;
    const metric = document.getElementById("matrix-metric");
    const others = document.getElementById("matrix-others");
    const why = maps.querySelector(".matrix-why");
    const show = () => {
      for (const part of maps.querySelectorAll("[data-metric]")) part.hidden = part.dataset.metric !== metric.value;
      if (others) for (const map of maps.querySelectorAll(".matrix-map")) map.hidden = map.dataset.place !== others.value;
    };
    const explain = (event) => {
      const cell = event.target.closest("td[title]");
      if (cell) why.textContent = `${cell.dataset.gen} with a ${cell.dataset.disc} discriminator: ${cell.title}`;
    };
    metric.addEventListener("change", show);
    if (others) others.addEventListener("change", show);
    for (const event of ["click", "focusin", "pointerover"]) maps.addEventListener(event, explain);
    show();
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
