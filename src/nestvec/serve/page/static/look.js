// Point at a document anywhere, and it is marked everywhere: in the list and in the pictures.

let looked = null;

function look(id) {
  if (id === looked) return;
  looked = id;
  for (const element of document.querySelectorAll("[data-doc]")) {
    element.classList.toggle("looked", element.dataset.doc === id);
  }
}

/** Begin to watch pointer and focus. */
export function watchLooks() {
  for (const kind of ["pointerover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      look(event.target.closest?.("[data-doc]")?.dataset.doc ?? null);
    });
  }
}
