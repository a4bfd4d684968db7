"use strict";
// The scorecard's filter by verdict.

for (const choices of document.querySelectorAll("[data-filters]")) {
  const claims = [...document.querySelector(choices.dataset.filters).children], status = choices.nextElementSibling;
  const show = () => {
    const wanted = choices.querySelector(":checked").value;
    for (const claim of claims) {
      const rows = [...claim.querySelectorAll(".row")];
      for (const row of rows) row.hidden = Boolean(wanted) && row.dataset.verdict !== wanted;
      claim.hidden = rows.every(row => row.hidden);
    }
    status.textContent = `${claims.filter(claim => !claim.hidden).length} of ${claims.length} claims`;
  };
  choices.addEventListener("change", show);
  show();
}
