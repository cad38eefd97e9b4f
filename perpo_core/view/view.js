// Keys, and filters that apply themselves. Without it every page works, by its buttons and links.
"use strict";

const items = [...document.querySelectorAll(".item")];
const follow = (selector) => document.querySelector(selector)?.click();
let current = -1;

function select(step) {
  if (!items.length) return;
  current = Math.min(Math.max(current + step, 0), items.length - 1);
  items[current].focus({ preventScroll: true });
  items[current].scrollIntoView({ block: "start" });
}

const KEYS = {
  j: () => select(1),
  k: () => select(-1),
  o: () => items[Math.max(current, 0)]?.querySelector("a.open")?.click(),
  n: () => follow("a[rel=next]"),
  p: () => follow("a[rel=prev]") ?? (location.search.includes("start=") && history.back()),
  u: () => history.back(),
  "/": () => document.querySelector("input[type=search]")?.focus(),
};
for (const number of "1234") KEYS[number] = () => follow(`a[data-tab="${number}"]`);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("focusin", (event) => {
  const at = items.indexOf(event.target.closest(".item"));
  if (at >= 0) current = at;
});

for (const form of document.forms) {
  // What is not filled in stays out of the address.
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
  });
  for (const field of form.querySelectorAll("select")) {
    field.addEventListener("change", () => form.requestSubmit());
  }
}
