"""One string where a list is needed is refused or is one element, never read by letters."""

import pytest

import nestvec as nv
from nestvec.serve.settings import Settings


@pytest.mark.parametrize(
    "options",
    [{"precisions": "int8"}, {"metrics": "ndcg@10"}, {"slice_by": "lang"}, {"extra": "64:int8"}],
)
def test_a_grid_refuses_a_string(options):
    (name,) = options
    with pytest.raises(nv.InvalidArgument, match=rf"{name} is one string\. Pass a list"):
        nv.Grid(**options)


def test_api_keys_of_one_string_are_refused_and_not_shown():
    with pytest.raises(nv.InvalidArgument, match="keys is one string") as caught:
        Settings(keys="secret")
    assert "secret" not in str(caught.value)
    with pytest.raises(nv.InvalidArgument, match="allow_hosts is one string"):
        Settings(allow_hosts="example.org")


def test_one_path_is_a_list_of_one(tmp_path):
    missing = tmp_path / "missing"
    messages = []
    for paths in (str(missing), missing, [missing]):
        with pytest.raises(nv.NestvecError) as caught:
            nv.load_served(paths)
        messages.append(str(caught.value))
    assert len({*messages}) == 1
    assert str(missing) in messages[0]
