"""A recipe: code for one engine that runs an operating point, with notes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class RecipePart(NamedTuple):
    """A block of code.

    Attributes:
        title: What the code does.
        language: "sql", "json", "python", "vespa", or "console": an HTTP request whose first line
            is the method and the path, and whose other lines are JSON.
        text: The code.
    """

    title: str
    language: str
    text: str


@dataclass(frozen=True)
class Recipe:
    """Code that runs an operating point on an engine. ``str()`` is a Markdown page.

    Attributes:
        engine: Name of the engine.
        version: The version for which the code was written.
        point: The operating point, in its text form.
        parts: The blocks of code, in the order of their use.
        notes: Differences from the operating point, and steps that the code does not contain; one
            sentence or more each.
        tested: Whether the tests of nestvec run the code on the engine itself.
    """

    engine: str
    version: str
    point: str
    parts: tuple[RecipePart, ...]
    notes: tuple[str, ...]
    tested: bool

    def __str__(self) -> str:
        """Return the recipe as Markdown: a title, one section for each part, and the notes."""
        status = "Tested: nestvec's tests run this code" if self.tested else "Untested"
        sections = [f"# {self.point} on {self.engine}", f"{status} ({self.version})."]
        for part in self.parts:
            sections += [f"## {part.title}", f"```{part.language}\n{part.text}\n```"]
        if self.notes:
            sections += ["## Notes", "\n".join(f"- {note}" for note in self.notes)]
        return "\n\n".join(sections)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        parts = [part._asdict() for part in self.parts]
        return {**asdict(self), "parts": parts, "notes": list(self.notes)}
