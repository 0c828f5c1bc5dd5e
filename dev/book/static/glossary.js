// The meaning of a term, beside it and inside the window, while the pointer or the focus rests on it.
const tip = document.body.appendChild(document.createElement("div"));
tip.className = "meaning";
tip.role = "tooltip";
tip.id = "meaning";
tip.hidden = true;

function show(term) {
  tip.textContent = term.dataset.meaning;
  tip.hidden = false;
  const at = term.getClientRects()[0];
  const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${Math.max(8, Math.min(at.left, room))}px`;
  const below = at.bottom + 6 + tip.offsetHeight < window.innerHeight;
  tip.style.top = `${below ? at.bottom + 6 : at.top - 6 - tip.offsetHeight}px`;
}

for (const term of document.querySelectorAll(".glossed")) {
  const hide = () => (tip.hidden = true);
  term.firstElementChild.setAttribute("aria-describedby", "meaning");
  term.addEventListener("pointerenter", () => show(term));
  term.addEventListener("pointerleave", hide);
  term.addEventListener("focusin", () => show(term));
  term.addEventListener("focusout", hide);
}
document.addEventListener("scroll", () => (tip.hidden = true), { passive: true });
