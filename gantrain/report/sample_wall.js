(() => {
  const start = () => {
    const wall = document.getElementById("wall-of-samples");
    if (!wall) return;
    const moments = JSON.parse(wall.dataset.moments);
    const slider = document.getElementById("wall-moment");
    const label = document.getElementById("wall-step");
    const seeds = document.getElementById("wall-seed");
    const large = document.getElementById("wall-large");
    const last = moments.length - 1;
    const written = (number) => number.toLocaleString("en-US");
    let enlarged = null;

    const grids = [...wall.querySelectorAll(".wall-images > figure")].flatMap((figure) => {
      const data = figure.querySelector("script");
      if (!data) return [];
      const img = figure.querySelector("img");
      return [{ figure, img, note: figure.querySelector(".wall-note"), own: img.src, ...JSON.parse(data.textContent) }];
    });

    const magnify = () => {
      if (!enlarged) return;
      const shown = enlarged.querySelector("img");
      const img = large.querySelector("img");
      const times = Math.max(1, Math.min(4, Math.floor(0.9 * Math.min(innerWidth / shown.width_, innerHeight / shown.height_))));
      img.src = shown.src;
      img.alt = shown.alt;
      img.style.width = `${shown.width_ * times}px`;
      const caption = enlarged.querySelector("figcaption").textContent.replace(/\s+/g, " ").trim();
      const at = enlarged.closest(".wall-images") ? `, step ${label.textContent}` : "";
      large.querySelector("p").textContent = caption + at;
    };

    const show = (place) => {
      for (const grid of grids) {
        const frame = grid.frames[place];
        const uri = frame < 0 ? grid.own : grid.images[frame];
        if (grid.img.src !== uri) grid.img.src = uri;
        grid.img.alt = `generated samples of ${grid.figure.querySelector(".wall-name").textContent} at step ${moments[place]}`;
        grid.note.textContent = grid.notes[place];
        grid.figure.classList.toggle("wall-ended", grid.ended[place]);
      }
      label.textContent = `${written(moments[place])} of ${written(moments[last])}`;
      slider.setAttribute("aria-valuetext", `step ${label.textContent}`);
      magnify();
    };

    for (const img of wall.querySelectorAll(".wall-enlarge img")) {
      img.width_ = Number(img.getAttribute("width"));
      img.height_ = Number(img.getAttribute("height"));
      img.parentElement.addEventListener("click", () => {
        enlarged = img.closest("figure");
        magnify();
        large.showModal();
      });
    }
    large.addEventListener("close", () => { enlarged = null; });
    large.addEventListener("click", (event) => { if (event.target === large) large.close(); });
    large.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, Home: -moments.length, End: moments.length }[event.key];
      if (!by) return;
      event.preventDefault();
      slider.value = Number(slider.value) + by;
      show(Number(slider.value));
    });

    const chooseSeed = () => {
      for (const figure of wall.querySelectorAll("figure[data-seed]")) figure.hidden = figure.dataset.seed !== seeds.value;
    };
    slider.addEventListener("input", () => show(Number(slider.value)));
    if (seeds) {
      seeds.addEventListener("change", chooseSeed);
      chooseSeed();
    }
    show(Number(slider.value));

    const paper = matchMedia("print");
    const print = (printing) => show(printing ? last : Number(slider.value));
    paper.addEventListener("change", (event) => print(event.matches));
    addEventListener("beforeprint", () => print(true));
    addEventListener("afterprint", () => print(false));
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
