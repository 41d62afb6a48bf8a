"""The values of one metadata field for all rows of an index, held so that a filter is fast.

Takes 12 bytes a row and each different string once. What a filter may say is in ``where``, what it
means in ``condition``; which rows are alive, and how they are searched, is the index's business.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestvec.engines.filters.condition import Operator, Order, Value
from nestvec.errors import InvalidArgument

Mask = NDArray[np.bool_]
"""Whether each row is meant, [n_rows]."""

_COMPARE: dict[Order, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ROW = np.dtype([("code", np.int32), ("number", np.float64)])
_NUMBER, _ABSENT = -1, -2  # in the place of a word's code
_ALL_INTEGERS = 2.0**53  # a float64 equals every integer up to here
_SPARE = 8  # a column that is full grows by an eighth


class Column:
    """One field of rows 0..n-1: a number, a string or nothing in each.

    Strings never equal numbers. Integers and floats compare exactly, also where a float64 cannot
    hold the integer; True and False are 1 and 0. NaN differs from every number, and is neither
    below nor above one. Anything else, such as the lists and nulls that JSON can hold, is nothing.

    A column never changes. ``extend`` gives a longer one, which shares the memory of the shorter:
    readers of that, in other threads too, go on to see their rows alone. One thread at a time may
    extend. Extending the same column twice is right as well, but copies it the second time.
    """

    def __init__(self) -> None:
        """Make a column without rows."""
        self._look_at(_Store())

    def __len__(self) -> int:
        """Count the rows, up to the last that was ever given."""
        return len(self._codes)

    def extend(self, first_row: int, values: Iterable[object]) -> Column:
        """Return this column with more rows behind it, in amortized constant time for each.

        Args:
            first_row: Where the values begin; rows between here and the last one have none.
            values: One for each row; None where it has none.

        Raises:
            InvalidArgument: If there is such a row already.
        """
        if first_row < len(self):
            raise InvalidArgument(f"first_row {first_row} < {len(self)} rows that are there")
        store = self._store if self._store.rows == len(self) else self._copy()
        store.append(first_row, np.fromiter(map(store.encode, values), dtype=_ROW))
        longer = Column.__new__(Column)
        longer._look_at(store)
        return longer

    def exists(self) -> Mask:
        """Tell which rows have a value, [n]."""
        found: Mask = self._codes != _ABSENT
        return found

    def compare(self, how: Operator, value: Value) -> Mask:
        """Tell which rows have a value that stands so to another, [n].

        Takes a pass over the rows (about 1 ms for a million) and, for strings in order, one over
        the different strings (about 0.1 s for a million).

        Args:
            how: Rows without a value match none of them, not even ``!=``. A string and a number
                differ, and neither is below or above the other.
            value: A string, or a number that is neither NaN nor infinite.
        """
        if how == "=":
            return self._equal(value)
        if how == "!=":
            return self.exists() & ~self._equal(value)
        if isinstance(value, str):
            return self._order_of_strings(how, value)
        return self._order_of_numbers(how, value)

    def is_in(self, values: Collection[Value]) -> Mask:
        """Tell which rows have a value that equals one of some, [n]."""
        code_of = self._store.code_of
        codes = [code_of[value] for value in values if value in code_of]
        chosen = np.zeros(self._n_words, dtype=np.bool_)
        # The column that grew out of this one may have words that are newer.
        chosen[[code for code in codes if code < self._n_words]] = True
        found = self._of_words(chosen)
        numbers = [_equal_float(value) for value in values if not isinstance(value, str)]
        if numbers:
            found |= np.isin(self._numbers, numbers) & (self._codes == _NUMBER)
        return found

    def _look_at(self, store: _Store) -> None:
        self._store = store
        self._codes = store.codes[: store.rows]
        self._numbers = store.numbers[: store.rows]
        self._n_words = len(store.code_of)

    def _copy(self) -> _Store:
        words = islice(self._store.list_words(), self._n_words)
        return _Store(self._codes.copy(), self._numbers.copy(), words)

    def _equal(self, value: Value) -> Mask:
        code = self._store.code_of.get(value)
        found: Mask = self._codes == (_NUMBER if code is None else code)
        if code is None:
            found &= self._numbers == _equal_float(value)
        return found

    def _order_of_strings(self, how: Order, value: str) -> Mask:
        compare, words = _COMPARE[how], self._store.list_words()
        chosen = [isinstance(word, str) and compare(word, value) for word in words]
        return self._of_words(np.fromiter(chosen, dtype=np.bool_, count=len(chosen)))

    def _order_of_numbers(self, how: Order, value: float) -> Mask:
        compare, near = _COMPARE[how], float(value)
        found: Mask = compare(self._numbers, near)
        if abs(near) >= _ALL_INTEGERS:
            # Rounding keeps the order but for what it brings together: that is compared exactly.
            rows = np.flatnonzero(self._numbers == near)
            codes, places = np.unique(self._codes[rows], return_inverse=True)
            words = self._store.list_words()
            exact = (near if code == _NUMBER else words[code] for code in codes)
            chosen = np.array([compare(number, value) for number in exact], dtype=np.bool_)
            found[rows] = chosen[places]
        return found

    def _of_words(self, chosen: Mask) -> Mask:
        """Tell which rows hold a word that is chosen; chosen: [n_words or more]."""
        if not chosen.any():
            return np.zeros(len(self), dtype=np.bool_)
        # Codes below zero count from the end.
        return np.append(chosen, [False, False]).take(self._codes, mode="wrap")


class _Store:
    """What the columns that grew out of each other share: arrays with room, and the words.

    A word is a string, or an integer that no float64 equals. A row holds a word's code, ``_NUMBER``
    or ``_ABSENT``; and the float64 nearest to its number, NaN where it has none.
    """

    def __init__(
        self,
        codes: NDArray[np.int32] | None = None,
        numbers: NDArray[np.float64] | None = None,
        words: Iterable[Value] = (),
    ) -> None:
        self.codes = np.empty(0, dtype=np.int32) if codes is None else codes
        self.numbers = np.empty(0, dtype=np.float64) if numbers is None else numbers
        self.code_of: dict[Value, int] = {word: code for code, word in enumerate(words)}
        self.rows = len(self.codes)

    def list_words(self) -> list[Value]:
        """Return the words by code."""
        return list(self.code_of)  # at once: to iterate would fail where another thread extends

    def encode(self, value: object) -> tuple[int, float]:
        """Return the code and the float of a value; a new word gets the next code."""
        if isinstance(value, str):
            return self.code_of.setdefault(value, len(self.code_of)), np.nan
        if not isinstance(value, int | float):
            return _ABSENT, np.nan
        near = _nearest_float(value)
        if near == value or isinstance(value, float):  # also NaN
            return _NUMBER, near
        return self.code_of.setdefault(value, len(self.code_of)), near

    def append(self, first_row: int, rows: NDArray[np.void]) -> None:
        """Write encoded rows behind those in use, where no reader looks."""
        n = first_row + len(rows)
        if n > len(self.codes):
            room = max(n, self.rows + self.rows // _SPARE)
            self.codes = _with_room(self.codes[: self.rows], room)
            self.numbers = _with_room(self.numbers[: self.rows], room)
        self.codes[self.rows : first_row] = _ABSENT
        self.numbers[self.rows : first_row] = np.nan
        self.codes[first_row:n] = rows["code"]
        self.numbers[first_row:n] = rows["number"]
        self.rows = n


def _with_room(values: NDArray[Any], room: int) -> NDArray[Any]:
    longer = np.empty(room, dtype=values.dtype)
    longer[: len(values)] = values
    return longer


def _equal_float(value: Value) -> float:
    """Return the float64 that equals a value, NaN where none does."""
    if isinstance(value, str):
        return np.nan
    near = _nearest_float(value)
    return near if near == value else np.nan


def _nearest_float(value: float) -> float:
    """Return the nearest float64, infinite for integers beyond all of them."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
