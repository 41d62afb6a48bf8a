#!/usr/bin/env bash
# azure-search-documents 12.0.0: SimpleField() and SearchableField() return a SearchField, but they
# drop every keyword that they do not list, without an error or a warning. They drop settings that
# SearchField() accepts (normalizer_name, vector_search_dimensions) and misspelled ones, for which
# SearchField() raises TypeError. The index is then created without the setting. One would expect
# the two functions to behave like SearchField(). Use SearchField() for fields with such settings.
#
# Seen: SimpleField(filterable=True, normalizer_name="lowercase") has no normalizer in its request,
# SearchableField(vector_search_dimensions=8) has no dimensions, and SimpleField(filterabel=True) is
# not filterable.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet azure-search-documents==12.0.0
venv/bin/python -W error - <<'PYTHON'
from azure.search.documents.indexes.models import SearchableField, SearchField, SimpleField


def request(make, **settings):
    try:
        return make(name="f", **settings).as_dict()
    except TypeError:
        return "TypeError"


vector = {"type": "Collection(Edm.Single)", "vector_search_profile_name": "p"}
cases = {
    "normalizer": {"type": "Edm.String", "filterable": True, "normalizer_name": "lowercase"},
    "dimensions": vector | {"vector_search_dimensions": 8},
    "filterable": {"type": "Edm.String", "filterabel": True},
}
sent = {}
for key, settings in cases.items():
    for make in (SearchField, SimpleField, SearchableField):
        body = request(make, **settings)
        sent[key, make] = body if body == "TypeError" else body.get(key, "not in the request")
        print(f"{make.__name__}, {list(settings)[-1]}: {key} = {sent[key, make]}")

assert sent["normalizer", SearchField] == "lowercase"
assert sent["dimensions", SearchField] == 8
assert sent["filterable", SearchField] == "TypeError"
for make in (SimpleField, SearchableField):
    assert sent["normalizer", make] == sent["dimensions", make] == "not in the request"
    assert sent["filterable", make] is False
print("as described")
PYTHON
