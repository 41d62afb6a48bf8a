// Highlight a document in the list and in all charts while the pointer or the focus is on it.

let highlighted = null;

function highlight(id) {
  if (id === highlighted) return;
  highlighted = id;
  for (const element of document.querySelectorAll("[data-doc]")) {
    element.classList.toggle("highlighted", element.dataset.doc === id);
  }
}

/** Start to follow pointer and focus. */
export function highlightDocuments() {
  for (const kind of ["pointerover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      highlight(event.target.closest?.("[data-doc]")?.dataset.doc ?? null);
    });
  }
}
