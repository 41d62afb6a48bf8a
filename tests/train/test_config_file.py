"""Settings from a file override defaults, are overridden by options, and are checked."""

from dataclasses import dataclass
from typing import Literal

import pytest

from nestvec.errors import DataError, InvalidArgument
from nestvec.train.config import config_from_file
from nestvec.train.finetuning import FinetuneConfig
from nestvec.train.static import StaticConfig


@pytest.fixture
def read(tmp_path):
    def read(text, kind=StaticConfig, *, defaults=None, overrides=None):
        (tmp_path / "run.toml").write_text(text)
        return config_from_file(
            kind, tmp_path / "run.toml", defaults=defaults or {}, overrides=overrides or {}
        )

    return read


def test_the_file_overrides_defaults_and_is_overridden_by_options(read):
    text = "dims = [16, 8]\nepochs = 3\nlearning_rate = 1\nbfloat16 = true\n"
    config = read(
        text, defaults={"epochs": 9, "seed": 4}, overrides={"dims": (4,), "max_tokens": 7}
    )
    assert config == StaticConfig(
        (4,), epochs=3, learning_rate=1, bfloat16=True, seed=4, max_tokens=7
    )


def test_settings_of_fine_tuning_are_read(read):
    config = read('dims = [8]\nweights = [1]\ndtype = "bfloat16"\nmax_tokens = 9', FinetuneConfig)
    assert config == FinetuneConfig((8,), (1,), dtype="bfloat16", max_tokens=9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "epoch is not one of dims, vocab_size"),
        ("epochs = 1.5", "epochs = 1.5 is not an integer"),
        ("epochs = true", "epochs = True is not an integer"),
        ("bfloat16 = 1", "bfloat16 = 1 is not true or false"),
        ('learning_rate = "x"', "learning_rate = 'x' is not a number"),
        ("dims = 64", "dims = 64 is not a list in which each value is an integer"),
        ('dims = [64, "x"]', "dims = [64, 'x'] is not a list"),
        ("epochs = ", "cannot be read"),
    ],
)
def test_an_invalid_setting_is_reported_with_the_file(read, text, message):
    with pytest.raises(DataError, match=r"run\.toml") as error:
        read(text)
    assert message in str(error.value)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(DataError, match=r"no\.toml: cannot be read"):
        config_from_file(StaticConfig, tmp_path / "no.toml", defaults={}, overrides={})


def test_a_value_out_of_range_is_rejected_by_the_dataclass(read):
    with pytest.raises(InvalidArgument, match="epochs=0 is less than 1"):
        read("epochs = 0")


@dataclass(frozen=True)
class Few:
    code: Literal["int8", "binary"] | None = None
    limit: int | None = None
    names: tuple[str, ...] = ()


def test_the_allowed_values_are_reported(read):
    assert read('code = "int8"\nlimit = 2', Few) == Few("int8", 2)
    with pytest.raises(DataError, match="is not one of int8, binary"):
        read('code = "int4"', Few)
    with pytest.raises(DataError, match="limit = 'x' is not an integer"):
        read('limit = "x"', Few)
    with pytest.raises(DataError, match="is not a list in which each value is a string"):
        read('names = "x"', Few)
