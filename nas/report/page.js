"use strict";
// A figure shows in words what its nearest mark stands for: to a pointer, a finger, or arrow keys.
for (const figure of document.querySelectorAll("[data-rows]")) {
  const rows = JSON.parse(document.getElementById(figure.dataset.rows).textContent);
  const plot = figure.querySelector(".plot");
  const drawing = plot.querySelector("svg");
  const cells = [...figure.querySelectorAll("[data-cell]")];
  const marks = [...drawing.querySelectorAll("[data-row]")].map((mark) => {
    const box = mark.getBBox();
    return { mark, x: box.x + box.width / 2, y: box.y + box.height / 2, row: rows[mark.dataset.row] };
  });
  marks.sort((some, other) => some.x - other.x || some.y - other.y);
  if (!marks.length) continue;
  let shown = Math.max(0, marks.findIndex(({ mark }) => mark.dataset.row === figure.dataset.first));

  const show = (number) => {
    marks[shown].mark.classList.remove("shown");
    shown = number;
    const { mark, row } = marks[shown];
    mark.classList.add("shown");
    for (const cell of cells) cell.textContent = row[cell.dataset.cell];
    plot.setAttribute("aria-valuenow", shown + 1);
    plot.setAttribute("aria-valuetext", row[0]);
  };
  const nearest = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(drawing.getScreenCTM().inverse());
    let found = 0, least = Infinity;
    marks.forEach(({ x, y }, number) => {
      const distance = (x - at.x) ** 2 + (y - at.y) ** 2;
      if (distance < least) [found, least] = [number, distance];
    });
    show(found);
  };
  const moves = {
    ArrowLeft: () => shown - 1, ArrowDown: () => shown - 1,
    ArrowRight: () => shown + 1, ArrowUp: () => shown + 1,
    PageDown: () => shown - 10, PageUp: () => shown + 10,
    Home: () => 0, End: () => marks.length - 1,
  };
  plot.addEventListener("keydown", (event) => {
    if (!(event.key in moves) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    show(Math.min(marks.length - 1, Math.max(0, moves[event.key]())));
  });
  drawing.addEventListener("pointermove", nearest);
  drawing.addEventListener("pointerdown", nearest);
  plot.setAttribute("role", "slider");
  plot.setAttribute("aria-valuemin", 1);
  plot.setAttribute("aria-valuemax", marks.length);
  show(shown);
}
