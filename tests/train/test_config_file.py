"""Settings from a file: they stand between what is usual and what is typed, and are checked."""

from dataclasses import dataclass
from typing import Literal

import pytest

from nestvec.errors import DataError, InvalidArgument
from nestvec.train.config import config_from_file
from nestvec.train.finetune import FinetuneConfig
from nestvec.train.static import StaticConfig


@pytest.fixture
def read(tmp_path):
    def read(text, kind=StaticConfig, *, usual=None, given=None):
        (tmp_path / "run.toml").write_text(text)
        return config_from_file(kind, tmp_path / "run.toml", usual=usual or {}, given=given or {})

    return read


def test_the_file_stands_above_what_is_usual_and_below_what_is_given(read):
    text = "dims = [16, 8]\nepochs = 3\nlearning_rate = 1\nbfloat16 = true\n"
    config = read(text, usual={"epochs": 9, "seed": 4}, given={"dims": (4,), "max_tokens": 7})
    assert config == StaticConfig(
        (4,), epochs=3, learning_rate=1, bfloat16=True, seed=4, max_tokens=7
    )


def test_settings_of_fine_tuning_are_read_alike(read):
    config = read('dims = [8]\nweights = [1]\ndtype = "bfloat16"\nmax_tokens = 9', FinetuneConfig)
    assert config == FinetuneConfig((8,), (1,), dtype="bfloat16", max_tokens=9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "epoch is not one of dims, vocab_size"),
        ("epochs = 1.5", "epochs = 1.5 is not a whole number"),
        ("epochs = true", "epochs = True is not a whole number"),
        ("bfloat16 = 1", "bfloat16 = 1 is not true or false"),
        ('learning_rate = "x"', "learning_rate = 'x' is not a number"),
        ("dims = 64", "dims = 64 is not a list, each of which is a whole number"),
        ('dims = [64, "x"]', "dims = [64, 'x'] is not a list"),
        ("epochs = ", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_file(read, text, message):
    with pytest.raises(DataError, match=r"run\.toml") as error:
        read(text)
    assert message in str(error.value)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no\.toml: cannot be read"):
        config_from_file(StaticConfig, tmp_path / "no.toml", usual={}, given={})


def test_a_value_out_of_range_is_the_settings_own_matter(read):
    with pytest.raises(InvalidArgument, match="epochs 0 < 1"):
        read("epochs = 0")


@dataclass(frozen=True)
class Few:
    code: Literal["int8", "binary"] | None = None
    limit: int | None = None
    names: tuple[str, ...] = ()


def test_one_of_few_words_is_named(read):
    assert read('code = "int8"\nlimit = 2', Few) == Few("int8", 2)
    with pytest.raises(DataError, match="is not one of int8, binary"):
        read('code = "int4"', Few)
    with pytest.raises(DataError, match="limit = 'x' is not a whole number"):
        read('limit = "x"', Few)
    with pytest.raises(DataError, match="is not a list, each of which is text"):
        read('names = "x"', Few)
