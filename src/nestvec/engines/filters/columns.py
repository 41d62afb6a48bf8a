"""The values of one metadata field for all rows of an index, in memory, for fast filters.

A column requires 12 bytes per row, and stores each different string and each different list once.
``condition`` defines the meaning of a filter. Columns do not know which rows are deleted.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.filters.condition import Operator, Order, Value
from nestvec.engines.filters.fields import FieldKinds, Kinds
from nestvec.errors import InvalidArgument

Mask = NDArray[np.bool_]
"""True for each row that matches, [n_rows]."""

_Word = Value | tuple[Value, ...]
_COMPARE: dict[Order, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ROW = np.dtype([("code", np.int32), ("number", np.float64)])
_NUMBER, _ABSENT, _BOOLEAN = -1, -2, -3  # codes of rows without a word
_SPECIAL = 3  # the number of these codes
_ITEM_BITS = 4  # the kinds of items follow the kinds of values
_STRING = Kinds.STRING.value
_ALL_INTEGERS = 2.0**53  # every integer up to this one is exact as a float64
_GROWTH = 8  # a full column grows by 1/8


class Column:
    """The values of one field for rows 0 to n-1: a number, a string, a list or no value in each.

    Values compare as ``condition`` defines. Integers compare exactly even if a float64 cannot
    represent them. Values of other types, such as objects and nulls of JSON, count as no value.

    A column does not change. ``extend`` returns a longer column that shares the memory of the
    shorter one, so other threads can go on reading the shorter column. Only one thread at a time
    may call ``extend``. If a column is extended a second time, it is copied.
    """

    def __init__(self) -> None:
        """Create a column without rows."""
        self._view(_Store())

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._codes)

    def extend(self, first_row: int, values: Iterable[object]) -> Column:
        """Return a column with more rows at the end, in amortized constant time per row.

        Args:
            first_row: The row of the first value. Rows between the end of the column and this row
                have no value.
            values: One value per row; None for no value.

        Raises:
            InvalidArgument: If ``first_row`` is smaller than the number of rows.
        """
        if first_row < len(self):
            problem = f"first_row={first_row} is smaller than the number of rows, {len(self)}."
            raise InvalidArgument(f"{problem} Rows can only be added at the end.")
        store = self._store if self._store.rows == len(self) else self._copy()
        store.append(first_row, np.fromiter(map(store.encode, values), dtype=_ROW))
        longer = Column.__new__(Column)
        longer._view(store)
        return longer

    def exists(self) -> Mask:
        """Return which rows have a value, [n]."""
        found: Mask = self._codes != _ABSENT
        return found

    def kinds(self, live: Mask) -> FieldKinds:
        """Return the kinds of values in some rows.

        Args:
            live: True for these rows; rows after the end of the column have no value.
        """
        n = min(len(self), len(live))
        used = np.zeros(self._n_words + _SPECIAL, dtype=np.bool_)
        used[self._codes[:n][live[:n]]] = True  # negative codes select the values at the end
        bits = int(np.bitwise_or.reduce(self._store.list_kinds(self._n_words)[used[:-_SPECIAL]]))
        special = zip((_NUMBER, _BOOLEAN), (Kinds.NUMBER, Kinds.BOOLEAN), strict=True)
        values = sum(kind.value for code, kind in special if used[code])
        mask = (1 << _ITEM_BITS) - 1
        return FieldKinds(Kinds(bits & mask | values), Kinds(bits >> _ITEM_BITS))

    def compare(self, comparison: Operator, value: Value) -> Mask:
        """Return the rows for which the comparison of their value with ``value`` is true, [n].

        A comparison of one million rows runs in about 1 ms. Ordering strings also compares every
        different string, which runs in about 0.1 s for one million strings.

        Args:
            comparison: The operator. Rows without a value never match, not even for ``!=``.
            value: A string, or a number that is neither NaN nor infinite.
        """
        if comparison == "=":
            return self._equal(value)
        if comparison == "!=":
            return self.exists() & ~self._equal(value)
        if isinstance(value, str):
            return self._compare_strings(comparison, value)
        return self._compare_numbers(comparison, value)

    def has(self, value: Value) -> Mask:
        """Return which rows have a list with this item, or this single value, [n]."""
        chosen = np.zeros(self._n_words, dtype=np.bool_)
        codes = self._store.lists_with(value)
        chosen[[code for code in codes if code < self._n_words]] = True
        return self._equal(value) | self._rows_of_words(chosen)

    def is_in(self, values: Collection[Value]) -> Mask:
        """Return which rows have a value that equals one of ``values``, [n]."""
        code_of = self._store.code_of
        codes = [code_of[value] for value in values if value in code_of]
        chosen = np.zeros(self._n_words, dtype=np.bool_)
        # The store may contain words of a longer column, which this column does not have.
        chosen[[code for code in codes if code < self._n_words]] = True
        found = self._rows_of_words(chosen)
        numbers = [_equal_float(value) for value in values if not isinstance(value, str)]
        if numbers:
            found |= np.isin(self._numbers, numbers) & (self._codes < 0)
        return found

    def _view(self, store: _Store) -> None:
        self._store = store
        self._codes = store.codes[: store.rows]
        self._numbers = store.numbers[: store.rows]
        self._n_words = len(store.code_of)

    def _copy(self) -> _Store:
        words = islice(self._store.list_words(), self._n_words)
        return _Store(self._codes.copy(), self._numbers.copy(), words)

    def _equal(self, value: Value) -> Mask:
        code = self._store.code_of.get(value)
        found: Mask
        if code is not None:
            found = self._codes == code
        else:
            found = (self._numbers == _equal_float(value)) & (self._codes < 0)
        return found

    def _compare_strings(self, comparison: Order, value: str) -> Mask:
        compare, words = _COMPARE[comparison], self._store.list_words()
        chosen = [isinstance(word, str) and compare(word, value) for word in words]
        return self._rows_of_words(np.fromiter(chosen, dtype=np.bool_, count=len(chosen)))

    def _compare_numbers(self, comparison: Order, value: float) -> Mask:
        compare, near = _COMPARE[comparison], float(value)
        found: Mask = compare(self._numbers, near)
        if abs(near) >= _ALL_INTEGERS:
            # Rounding to float64 preserves the order, except for numbers rounded to the same
            # float64. These are compared exactly.
            rows = np.flatnonzero(self._numbers == near)
            codes, places = np.unique(self._codes[rows], return_inverse=True)
            words = self._store.list_words()
            exact = (near if code < 0 else words[code] for code in codes)
            chosen = np.array([compare(number, value) for number in exact], dtype=np.bool_)
            found[rows] = chosen[places]
        return found

    def _rows_of_words(self, chosen: Mask) -> Mask:
        """Return which rows have a chosen word. ``chosen`` is [n_words] or longer."""
        if not chosen.any():
            return np.zeros(len(self), dtype=np.bool_)
        # Negative codes select the values at the end.
        return np.append(chosen, [False] * _SPECIAL).take(self._codes, mode="wrap")


class _Store:
    """The memory that a column shares with the columns it was extended to.

    A word is a string, a list, or an integer that is not exact as a float64. Lists are stored as
    tuples. Each row has a code and a float64. The code is that of a word, ``_NUMBER``,
    ``_BOOLEAN`` or ``_ABSENT``. The float64 is the nearest to the row's number, or NaN for rows
    without a number.
    """

    def __init__(
        self,
        codes: NDArray[np.int32] | None = None,
        numbers: NDArray[np.float64] | None = None,
        words: Iterable[_Word] = (),
    ) -> None:
        self.codes = np.empty(0, dtype=np.int32) if codes is None else codes
        self.numbers = np.empty(0, dtype=np.float64) if numbers is None else numbers
        self.code_of: dict[_Word, int] = {}
        self._kinds = bytearray()  # the kinds of each word and of its items
        self._lists: dict[Value, list[int]] = {}  # the codes of the lists with each item
        for word in words:
            self._code(word)
        self.rows = len(self.codes)

    def list_words(self) -> list[_Word]:
        """Return the words in the order of their codes."""
        return list(self.code_of)  # a copy, as another thread may add words during an iteration

    def list_kinds(self, n_words: int) -> NDArray[np.uint8]:
        """Return the kinds of the first words, [n_words]."""
        return np.frombuffer(bytes(self._kinds[:n_words]), dtype=np.uint8)

    def lists_with(self, item: Value) -> list[int]:
        """Return the codes of the lists that contain an item."""
        return list(self._lists.get(item, ()))

    def encode(self, value: object) -> tuple[int, float]:
        """Return the code and the float64 of a value; a new word is assigned the next code."""
        if isinstance(value, str):
            return self._code(value), np.nan
        if isinstance(value, list):
            items = (item for item in value if isinstance(item, str | int | float))
            return self._code(tuple(items)), np.nan
        if not isinstance(value, int | float):
            return _ABSENT, np.nan
        near = _nearest_float(value)
        if near == value or isinstance(value, float):  # also NaN
            return _BOOLEAN if isinstance(value, bool) else _NUMBER, near
        return self._code(value), near

    def _code(self, word: _Word) -> int:
        """Return the code of a word; a new word is assigned the next code."""
        code = self.code_of.get(word)
        if code is None:
            self._kinds.append(_kinds_of(word))
            code = len(self.code_of)
            for item in dict.fromkeys(word) if isinstance(word, tuple) else ():
                self._lists.setdefault(item, []).append(code)
            self.code_of[word] = code  # last, as other threads read the words that have a code
        return code

    def append(self, first_row: int, rows: NDArray[np.void]) -> None:
        """Write encoded rows after the rows in use, which readers do not read."""
        n = first_row + len(rows)
        if n > len(self.codes):
            capacity = max(n, self.rows + self.rows // _GROWTH)
            self.codes = _with_capacity(self.codes[: self.rows], capacity)
            self.numbers = _with_capacity(self.numbers[: self.rows], capacity)
        self.codes[self.rows : first_row] = _ABSENT
        self.numbers[self.rows : first_row] = np.nan
        self.codes[first_row:n] = rows["code"]
        self.numbers[first_row:n] = rows["number"]
        self.rows = n


def _kinds_of(word: _Word) -> int:
    """Return the kinds of a word and of its items, as 8 bits."""
    if isinstance(word, str):  # by far the most frequent kind
        return _STRING
    values, items = FieldKinds.of(word)
    return int(values.value | items.value << _ITEM_BITS)


def _with_capacity(values: NDArray[Any], capacity: int) -> NDArray[Any]:
    longer = np.empty(capacity, dtype=values.dtype)
    longer[: len(values)] = values
    return longer


def _equal_float(value: Value) -> float:
    """Return the float64 that equals a value, or NaN if there is none."""
    if isinstance(value, str):
        return np.nan
    near = _nearest_float(value)
    return near if near == value else np.nan


def _nearest_float(value: float) -> float:
    """Return the nearest float64; infinity for integers beyond the range of floats."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
