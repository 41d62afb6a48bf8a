"""The server conforms to its OpenAPI document, tested with requests of schemathesis."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from fakes import NestedHashEncoder
from made_serving import NAME, demo_like
from nestvec.serve.app import create_app
from nestvec.serve.settings import Limits, Settings
from nestvec.serve.shadow import ShadowSettings, load_shadow
from serving_client import running

CHECKS = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    served = demo_like(NestedHashEncoder(), tmp_path_factory.mktemp("served") / "index")
    limits = Limits(body_bytes=100_000)
    # Behind a port: called without one, its library would end the application with each request.
    shadow = load_shadow(served.index.place, served, ShadowSettings(share=1, texts=True))
    app = create_app(served, Settings(writable=True, limits=limits), shadow=shadow)
    with running(app) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/embeddings", "/v1/search", "/v1/compare", "/v1/documents"),
        *("/v1/documents/{id}", "/v1/models", "/v1/models/{name}"),
        *("/v1/curve", "/v1/plan", "/v1/queries", "/v1/shadow", "/healthz", "/readyz", "/metrics"),
    ],
)
def test_every_operation_is_as_documented(schema, path):
    operations = [schema[path][method] for method in schema[path]]
    assert operations

    for operation in operations:

        @settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=[*HealthCheck],
        )
        @given(case=operation.as_strategy())
        def asked(case):
            if isinstance(case.body, dict) and case.body.get("model"):
                case.body["model"] = NAME  # which no document can know
            case.call_and_validate(checks=CHECKS)

        asked()


def test_no_operation_is_left_out(schema):
    paths = {result.ok().path for result in schema.get_all_operations()}
    here = test_every_operation_is_as_documented.pytestmark[0].args[1]
    assert paths == {*here}
