"""Add documents to a Lance table by a merge, in which no id is added twice.

On object storage, two processes can add the same new id at the same time. Lance then finds that two
commits insert the same primary key, and repeats the later commit. The repeated commit must fail,
because the id exists by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.lancedb.rows import ID, table_of
from nestvec.types import Document

_EXISTS = "nestvec: this id exists: "
# A merge of LanceDB 0.40 has no option to fail if a row exists. This condition of an update fails
# for these rows, because the text is no number. For all other rows the condition is NULL.
_FAIL_IF_MATCHED = f"CAST('{_EXISTS}' || source.{ID} || target.{ID} AS BIGINT) = 0"


class RowExists(Exception):
    """The table contains an id that is added."""


class Merge:
    """The addition of some documents, which can be repeated.

    Attributes:
        attempts: Number of calls.
    """

    def __init__(
        self,
        added: Mapping[str, Document],
        vectors: NDArray[np.floating],
        *,
        replace: bool,
        locked: bool,
    ) -> None:
        """Store what to add.

        Args:
            added: Documents by id.
            vectors: [n, full_dim] in the same order, as the table stores them.
            replace: Replace documents that have the same id. Otherwise all ids must be new.
            locked: Whether no other process can change the table meanwhile.
        """
        self._added, self._vectors = added, vectors
        self._replace, self._locked = replace, locked
        self.attempts = 0

    def run(self, table: Any) -> None:
        """Add the documents in one commit.

        Raises:
            RowExists: If an id exists on object storage, and documents are not replaced.
        """
        self.attempts += 1
        rows = table_of(self._added, self._vectors, table.schema)
        if self._locked and not self._replace and self.attempts == 1:
            table.add(rows)  # the ids are new, and a merge would read all ids
            return
        merging = table.merge_insert(ID).when_not_matched_insert_all()
        if self._replace:
            merging = merging.when_matched_update_all()
        elif not self._locked:
            merging = merging.when_matched_update_all(where=_FAIL_IF_MATCHED)
        if not self._locked:
            # A merge that reads the index of ids does not find the ids of concurrent commits.
            merging = merging.use_index(False)
        try:
            merging.execute(rows)
        except (OSError, RuntimeError, ValueError) as error:
            if _EXISTS in str(error):
                raise RowExists from None
            raise
