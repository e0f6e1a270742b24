"use strict";
const rows = Array.from(document.querySelectorAll("#jobs tbody tr"));
const texts = rows.map((row) => row.textContent.toLowerCase());
const box = document.getElementById("find");
const shown = document.getElementById("shown");
function find() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  rows.forEach((row, i) => {
    row.hidden = !words.every((word) => texts[i].includes(word));
    left += row.hidden ? 0 : 1;
  });
  shown.textContent = words.length ? `${left} of ${rows.length}` : "";
}
box.addEventListener("input", find);
