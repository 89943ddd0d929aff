// Sorts a table by the column whose head is clicked; rows without a value stay last in both directions.
(() => {
  const sort = (head) => {
    const table = head.closest("table"), body = table.tBodies[0];
    const place = [...head.parentElement.children].indexOf(head);
    const numeric = "numeric" in head.dataset;
    const first = head.dataset.first ?? "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const direction = head.getAttribute("aria-sort") === first ? other : first;
    for (const one of head.parentElement.children) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row) => [row.cells[place].dataset.v, row]);
    const isNumber = (text) => text !== "" && Number.isFinite(Number(text));
    const compare = (a, b) => {
      if (numeric || (isNumber(a) && isNumber(b))) return Number(a) - Number(b);
      return a.localeCompare(b, "en", { numeric: true });
    };
    rows.sort(([a], [b]) => {
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      return sign * compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
  };
  for (const head of document.querySelectorAll("table.sortable th[data-key]")) {
    head.querySelector("button").addEventListener("click", () => sort(head));
  }
  const choices = document.querySelectorAll("#table [data-show]");
  for (const choice of choices) {
    choice.addEventListener("click", () => {
      for (const one of choices) {
        one.setAttribute("aria-pressed", String(one === choice));
        document.getElementById(`${one.dataset.show}-box`).hidden = one !== choice;
      }
    });
  }
})();
