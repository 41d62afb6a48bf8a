"""All dialects by name."""

from __future__ import annotations

from collections.abc import Mapping

from nestvec.models.api.cohere import COHERE
from nestvec.models.api.dialect import Dialect
from nestvec.models.api.gemini import GEMINI
from nestvec.models.api.openai import NESTVEC, OPENAI, VOYAGE

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect for dialect in (OPENAI, GEMINI, VOYAGE, COHERE, NESTVEC)
}
