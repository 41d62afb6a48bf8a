"""Token ids in requests: accept the ids of the served model, or decode ids of an OpenAI encoding.

Clients of OpenAI may send token ids instead of texts. LangChain does so by default, with ids of
OpenAI's encoding cl100k_base. Most of these ids are also in the range of another model's
vocabulary, where they represent other words. The range therefore does not show that the ids belong
to the model.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nestvec.errors import InvalidArgument, MissingExtra
from nestvec.serve.errors import ApiError, bad_request
from nestvec.types import Encoder, TokenEncoder

if TYPE_CHECKING:
    from tiktoken import Encoding

_SEND_STRINGS = "Send strings (in LangChain: check_embedding_ctx_length=False)"
_CONTINUATION = bytes(range(0x80, 0xC0))  # bytes of UTF-8 that do not begin a character
_LONGEST_REST = 3  # bytes of a character without its first byte


class OwnIds:
    """Checks that token ids belong to the tokenizer of a model."""

    def __init__(self, model: Encoder, *, accept_all: bool) -> None:
        """Store the special tokens of the model.

        Args:
            model: The model without its adapter.
            accept_all: Whether all ids in the range of the vocabulary are accepted.

        Raises:
            InvalidArgument: If all ids should be accepted and the model does not accept tokens.
        """
        if accept_all and not isinstance(model, TokenEncoder):
            problem = f"{model.info.name} does not accept token ids"
            raise InvalidArgument(f"--accept-token-ids: {problem}. Omit the option.")
        self._model = model
        self._accept_all = accept_all

    def check(self, ids: Sequence[Sequence[int]], field: str) -> None:
        """Check the token ids of texts.

        Args:
            ids: Token ids of each text.
            field: Name of the field of a text, with ``{}`` for its position in a list.

        Raises:
            ApiError: 400 if the model does not accept tokens, ids may belong to another tokenizer,
                an id does not exist, or a text has too many tokens.
        """
        model = self._model
        if not isinstance(model, TokenEncoder):
            raise bad_request(f"this model does not accept token ids. {_SEND_STRINGS}.", "input")
        before, after = model.special_tokens
        longest = model.info.max_tokens
        for number, each in enumerate(ids):
            place = field.format(number)
            if not (self._accept_all or _begins_and_ends(each, before, after)):
                raise _foreign(place, before, after)
            if not 0 <= min(each) <= max(each) < model.vocabulary:
                wrong = next(id_ for id_ in each if not 0 <= id_ < model.vocabulary)
                problem = f"{place}: token {wrong} is not from 0 to {model.vocabulary - 1}"
                advice = "Use the tokenizer of this model, or send strings"
                raise bad_request(f"{problem}. {advice}.", place)
            if longest is not None and len(each) > longest:
                problem = f"{place} has {len(each)} tokens, more than max_tokens={longest}"
                raise bad_request(f"{problem}. Truncate the list, or send a string.", place)


def _begins_and_ends(ids: Sequence[int], before: Sequence[int], after: Sequence[int]) -> bool:
    """Return whether ids have special tokens at both ends; False for a model without them."""
    if not before or not after or len(ids) < len(before) + len(after):
        return False
    return [*ids[: len(before)]] == [*before] and [*ids[-len(after) :]] == [*after]


def _foreign(place: str, before: Sequence[int], after: Sequence[int]) -> ApiError:
    decode = "--decode-token-ids cl100k_base"
    if before and after:
        first, last = (" ".join(map(str, each)) for each in (before, after))
        problem = f"the token ids do not begin with {first} and end with {last}, as those of this"
        problem += " model do. They may belong to another tokenizer"
        advice = f"or start the server with {decode}"
    else:
        problem = "the server cannot verify that the token ids belong to this model"
        advice = f"or start the server with {decode} or --accept-token-ids"
    return bad_request(f"{place}: {problem}. {_SEND_STRINGS}, {advice}.", place)


class IdDecoder:
    """Decodes token ids of an encoding of OpenAI to texts."""

    def __init__(self, name: str) -> None:
        """Load the table of an encoding.

        Args:
            name: Name of the encoding, such as ``"cl100k_base"``.

        Raises:
            MissingExtra: If tiktoken is not installed.
            InvalidArgument: If the encoding is unknown, or its table cannot be read.
        """
        self._name = name
        self._encoding = _load_encoding(name)

    def texts(self, ids: Sequence[Sequence[int]], field: str) -> list[str]:
        """Return the text of each list of ids.

        Args:
            ids: Token ids of each text.
            field: As in ``OwnIds.check``.

        Raises:
            ApiError: 400 if ids do not exist in the encoding or are not the ids of a text.
        """
        return [self._text(each, field.format(number)) for number, each in enumerate(ids)]

    def _text(self, ids: Sequence[int], place: str) -> str:
        problem = f"{place}: the token ids are not a text in {self._name}"
        try:
            content = self._encoding.decode_bytes(ids)
            return _complete_text(content)
        except (KeyError, OverflowError, UnicodeDecodeError) as error:
            raise bad_request(f"{problem}. {_SEND_STRINGS}.", place) from error


def _complete_text(content: bytes) -> str:
    """Decode UTF-8 without the parts of characters at both ends.

    LangChain splits long texts between two tokens, which may be within a character.

    >>> _complete_text("aé".encode()[:-1]), _complete_text("éa".encode()[1:])
    ('a', 'a')
    """
    rest = len(content) - len(content.lstrip(_CONTINUATION))
    start = rest if rest <= _LONGEST_REST else 0
    return getincrementaldecoder("utf-8")().decode(content[start:])


def _load_encoding(name: str) -> Encoding:
    option = f"--decode-token-ids {name}"
    try:
        import tiktoken
    except ModuleNotFoundError as error:
        message = f"{option}: tiktoken is not installed. Run: pip install tiktoken"
        raise MissingExtra(message) from error
    known = tiktoken.list_encoding_names()
    if name not in known:
        raise InvalidArgument(f"{option} is unknown. Choose one of {', '.join(known)}.")
    try:
        return tiktoken.get_encoding(name)
    except Exception as error:  # the library raises errors of its HTTP client, and ValueError
        raise InvalidArgument(
            f"{option}: tiktoken cannot read or download the table ({type(error).__name__}). "
            "Set TIKTOKEN_CACHE_DIR to a folder that contains the table, or start the server once "
            "with access to the internet."
        ) from error
