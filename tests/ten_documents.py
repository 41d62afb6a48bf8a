"""Ten short documents, and the index of them that tests of workflows change."""

from nestvec.types import Document

WORDS = ["read", "write", "csv", "json", "socket", "table", "open", "close", "tree", "graph"]
CORPUS = {
    f"d{number}": Document(f"{WORDS[number]} own{number}", metadata={"n": number})
    for number in range(10)
}


def first(index, text, **options):
    """Return the id of the best hit, None where there is none."""
    (ids,) = index.search([text], 1, **options).ids
    return ids[0] if ids else None
