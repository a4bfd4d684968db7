"use strict";
// A notebook's page: its list of sections is folded on a narrow screen; code can be hidden.

const toc = document.querySelector(".toc"), button = document.getElementById("code");
if (toc) {
  toc.open = window.matchMedia("(min-width: 75rem)").matches;
  button.addEventListener("click", () => {
    const hidden = document.body.classList.toggle("no-code");
    button.setAttribute("aria-pressed", hidden);
  });
}
