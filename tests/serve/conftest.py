"""A server of made things: called without a port, and behind one."""

import pytest

from fakes import NestedHashEncoder
from made_serving import demo_like
from nestvec.serve.app import create_app
from serving_client import Client, running


@pytest.fixture
def served(tmp_path):
    return demo_like(NestedHashEncoder(), tmp_path / "index")


@pytest.fixture
def client(served):
    yield Client(create_app(served))
    served.close()


@pytest.fixture
def address(served):
    with running(create_app(served)) as address:
        yield address
