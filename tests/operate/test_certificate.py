"""Certificates: the statement follows from the file alone, and every edit is found."""

import copy
import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

import nestvec as nv
from fakes import NestedHashEncoder, fake_info, made_set
from nestvec.curve.curve import Curve
from nestvec.data.content_hashes import content_hashes
from nestvec.errors import DataError, InvalidArgument
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.metrics.stats import ratio_lower_bounds
from nestvec.models.paired import PairedEncoder
from nestvec.operate.certificate import Certificate, certify
from nestvec.operate.verification import verify_certificate
from nestvec.planning.budget import Budget
from nestvec.planning.choose import plan
from nestvec.types import Document

BUDGET = Budget(min_retention=0.9)


@pytest.fixture(scope="module")
def data():
    return made_set(300, 600)


@pytest.fixture(scope="module")
def curve(data):
    slices = {id_: {"half": str(number % 2)} for number, id_ in enumerate(data.queries)}
    grid = Grid(dims=(64, 32, 16), keeps=(25,), slice_by=("half",))
    return evaluate(NestedHashEncoder(), replace(data, query_fields=slices), grid)


@pytest.fixture(scope="module")
def values(curve):
    return certify(curve, plan(curve, BUDGET)).to_json()


@pytest.fixture
def load(tmp_path):
    """Load a certificate from changed values."""

    def write(values):
        path = tmp_path / "certificate.json"
        path.write_text(json.dumps(values))
        return Certificate.load(path)

    return write


def with_checksums(values):
    """Forge the checksums, as somebody who knows the format can do."""
    for name in values["checksums"]:
        text = json.dumps(values[name], sort_keys=True, separators=(",", ":"))
        values["checksums"][name] = hashlib.sha256(text.encode()).hexdigest()
    return values


@pytest.mark.parametrize(
    "budget",
    [
        BUDGET,
        Budget(min_retention=0.9, min_slice_retention=0.8),
        Budget(max_drop=0.05, minimize="disk"),
        Budget(min_overlap=0.7, metric="overlap@10", confidence=0.9),
        Budget(min_retention=0.999),
    ],
    ids=str,
)
def test_a_certificate_of_each_goal_is_valid_and_states_what_the_plan_states(
    curve, data, budget, tmp_path
):
    chosen = plan(curve, budget, seed=3)
    certify(curve, chosen).save(tmp_path / "certificate.json")
    loaded = Certificate.load(tmp_path / "certificate.json")
    stated = loaded.statement
    assert (stated.point, stated.confirmed) == (chosen.point, chosen.confirmed)
    assert chosen.confirmed == (budget.min_retention != 0.999)
    assert (stated.kept, stated.at_least) == pytest.approx((chosen.kept, chosen.at_least))
    assert stated.text.endswith(f" {chosen.verdict}")
    check = verify_certificate(loaded, curve=curve, model=curve.model)
    assert (check.valid, check.differences, check.not_checked) == (True, (), ("data",))
    path = tmp_path / "certificate.json"
    assert verify_certificate(path, curve=curve, model=curve.model) == check


def test_the_statement_follows_by_hand_from_the_scores_of_the_file(values):
    scores, stated = values["scores"], values["statement"]
    shuffled = np.random.default_rng(0).permutation(600)
    testing = shuffled[300:]
    assert np.flatnonzero(scores["in_test"]).tolist() == sorted(testing.tolist())
    full, point = np.array(scores["full"])[testing], np.array(scores["tested"][-1])[testing]
    assert (stated["queries_tested"], stated["queries_ordering"]) == (300, 300)
    assert stated["kept"] == pytest.approx(point.sum() / full.sum())
    assert stated["bound"] == pytest.approx(ratio_lower_bounds(point[None], full, seed=0)[0])
    assert stated["bound"] >= stated["at_least"] == 0.9


def test_no_text_and_no_id_is_in_the_file(curve, data, tmp_path):
    certify(curve, plan(curve, BUDGET)).save(tmp_path / "certificate.json")
    text = (tmp_path / "certificate.json").read_text()
    assert not any(query in text for query in data.queries.values())
    assert '"q17"' not in text
    assert hashlib.sha256(b"q17").hexdigest()[:16] in text


def leaves(values, path=()):
    """Yield the path to each single value; of long lists, to a few."""
    if isinstance(values, dict):
        for name, each in values.items():
            yield from leaves(each, (*path, name))
    elif isinstance(values, list):
        for number in range(0, len(values), max(1, len(values) // 3)):
            yield from leaves(values[number], (*path, number))
    else:
        yield path


def edited(values, path):
    values = copy.deepcopy(values)
    parent = values
    for name in path[:-1]:
        parent = parent[name]
    old = parent[path[-1]]
    if isinstance(old, bool):
        new = not old
    elif isinstance(old, int | float):
        new = old * 0.99 if old else 0.5
    else:
        new = f"{old}1"
    parent[path[-1]] = new
    return values


def test_every_edited_value_is_found(values, load):
    paths = [path for path in leaves(values) if path[0] != "version"]
    assert len(paths) > 150
    for path in paths:
        try:
            check = verify_certificate(load(edited(values, path)))
        except DataError:
            continue  # the value cannot be read at all
        assert not check.valid, path
        assert any(path[0] in each or path[1] in each for each in check.differences), path


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("retention", 0.5, "retention: the certificate states 50.0 %, the scores give"),
        ("kept", 1.5, "ratio of the goal: the certificate states 150.0 %"),
        ("at_least", 0.95, "lower bound: the certificate states 95.0 %, the scores give 90.0 %"),
        ("bound", 0.95, "lower bound of this point alone: the certificate states 95.0 %, the"),
        ("full_mean", 0.125, "mean score of full precision on the test queries: the certifi"),
        ("queries_ordering", 1, "number of ordering queries: the certificate states 1, the"),
        ("confirmed", False, "confirmed: the certificate states False, the scores give True"),
        ("text", "It is good", "text of the statement: the certificate's text is not the text"),
        ("covers", ["All"], "text about what the statement covers: the certificate's text is"),
        ("mean", 0.125, "mean score on the test queries: the certificate states 0.1250"),
        ("queries_tested", 400, "number of test queries: the certificate states 400, the"),
        ("verdict", "NOT CONFIRMED", "verdict: the certificate states NOT CONFIRMED, the scores"),
        ("point", "64:int8", "point: the certificate states 64:int8, the scores give"),
    ],
)
def test_a_number_is_named_even_if_the_checksums_are_forged(values, load, name, value, message):
    changed = copy.deepcopy(values)
    changed["statement"][name] = value
    check = verify_certificate(load(with_checksums(changed)))
    assert len(check.differences) == 1
    assert check.differences[0].startswith(message)


def test_better_scores_of_the_point_are_found_with_forged_checksums(values, load):
    changed = copy.deepcopy(values)
    changed["scores"]["tested"][-1] = [1.0] * 600
    found = " ".join(verify_certificate(load(with_checksums(changed))).differences)
    assert "retention: " in found
    assert "mean score on the test queries: " in found


def test_a_split_that_the_seed_does_not_give_is_found_with_forged_checksums(values, load):
    changed = copy.deepcopy(values)
    flags = changed["scores"]["in_test"]
    changed["scores"]["in_test"] = flags[1:] + flags[:1]
    check = verify_certificate(load(with_checksums(changed)))
    assert check.differences == ("split: the test queries are not those that seed 0 selects",)


def test_a_lower_target_and_an_easier_limit_are_found_with_forged_checksums(values, load):
    changed = copy.deepcopy(values)
    changed["budget"]["min_retention"] = 0.999
    found = " ".join(verify_certificate(load(with_checksums(changed))).differences)
    assert "verdict: the certificate states CONFIRMED, the scores give NOT CONFIRMED" in found
    changed = copy.deepcopy(values)
    changed["budget"]["max_ram_bytes_per_vector"] = 1.0
    assert "limits" in verify_certificate(load(with_checksums(changed))).differences[0]


def test_points_in_another_order_and_a_repeated_point_are_found(values, load):
    changed = copy.deepcopy(values)
    for each in (changed["tested"], changed["scores"]["tested"]):
        each.insert(0, each[-1])
    found = verify_certificate(load(with_checksums(changed))).differences
    assert "tested: the points are not in the order of their cost" in found


def test_slices_cannot_be_left_out_of_a_slice_target(curve, load):
    budget = Budget(min_retention=0.9, min_slice_retention=0.8)
    changed = certify(curve, plan(curve, budget)).to_json()
    assert {*changed["scores"]["slices"]["half"]} == {"0", "1"}
    changed["scores"]["slices"] = {}
    with pytest.raises(DataError, match="a slice target requires slices"):
        load(with_checksums(changed))


def test_a_consistent_forgery_is_found_with_the_curve_only(curve):
    """Scores that were invented before the plan was made give a valid file."""
    scores = curve.scores.metrics["ndcg@10"].copy()
    scores[1:] = 0.9 * scores[1:] + 0.1 * scores[0]
    means = scores.mean(axis=1).tolist()
    points = tuple(
        replace(row, metrics={"ndcg@10": mean}, retention={"ndcg@10": mean / means[0]})
        for row, mean in zip(curve.points, means, strict=True)
    )
    invented = replace(curve.scores, metrics={"ndcg@10": scores})
    better = replace(curve, points=points, scores=invented)
    forged = certify(better, plan(better, BUDGET))
    assert verify_certificate(forged).valid
    found = verify_certificate(forged, curve=curve).differences
    assert any("of 600 queries differ from the curve" in each for each in found)


def test_points_that_are_left_out_are_found_with_the_curve_only(curve):
    """The file alone does not show among which points the plan chose."""
    numbers = [curve.row_number(point) for point in ("64:float32", "16:int4@25>64:int8")]
    metrics = {name: values[numbers] for name, values in curve.scores.metrics.items()}
    scores = replace(curve.scores, metrics=metrics)
    part = replace(curve, points=tuple(curve.points[row] for row in numbers), scores=scores)
    forged = certify(part, plan(part, Budget(min_retention=0.7)))
    assert verify_certificate(forged).valid
    (found,) = verify_certificate(forged, curve=curve).differences
    assert found == (
        "choice: the certificate states 16:int4@25>64:int8 CONFIRMED, the curve gives "
        "32:binary@25>64:float16 CONFIRMED"
    )


def test_changed_inputs_are_named(curve, data, values, load):
    certificate = load(values)
    fields = {id_: {"half": str(n % 2)} for n, id_ in enumerate(data.queries)}
    data = replace(data, query_fields=fields)
    assert verify_certificate(certificate, data=data).valid
    first = next(iter(data.corpus))
    other = replace(data, corpus={**data.corpus, first: Document("something else")})
    (found,) = verify_certificate(certificate, data=other).differences
    assert found.startswith("corpus changed: sha256 ")
    queries = {id_: text for id_, text in data.queries.items() if id_ not in ("q0", "q1")}
    other = replace(data, queries={**queries, "new": "a query"})
    found = verify_certificate(certificate, data=other).differences
    assert any("queries changed: 1 added, 2 removed" in each for each in found)
    assert not any(each.startswith(("corpus", "qrels")) for each in found)
    qrels = {**data.qrels, "q0": {**data.qrels["q0"], "d7": 3}}
    (found,) = verify_certificate(certificate, data=replace(data, qrels=qrels)).differences
    assert found.startswith("qrels changed")
    found = verify_certificate(certificate, model=fake_info(fingerprint="e" * 64)).differences
    assert found == (
        "model changed: sha256 ffffffffffff (fake/nested) in the certificate, eeeeeeeeeeee "
        "(fake/nested) now",
    )


def test_a_sample_is_stated_and_its_whole_data_set_is_compared(data, tmp_path):
    texts = [document.content for document in data.corpus.values()]
    vectors = NestedHashEncoder().encode(texts, kind="document")
    nv.save_embeddings(list(data.corpus), vectors, tmp_path / "corpus.npy")
    pair = PairedEncoder(nv.load_model(tmp_path, sample=200), NestedHashEncoder())
    sampled = evaluate(pair, data, Grid(dims=(64, 32), keeps=(25,)))
    certificate = certify(sampled, plan(sampled, Budget(min_retention=0.7)))
    assert verify_certificate(certificate, curve=sampled, data=data, model=pair.info).valid
    scope = " ".join(certificate.statement.covers)
    assert "The corpus was a sample of 200 of 300 documents (66.7 %)." in scope
    changed = replace(data, corpus={**data.corpus, "new": Document("one more")})
    found = verify_certificate(certificate, data=changed).differences
    assert found[0].startswith("corpus changed")


def test_hashes_do_not_depend_on_the_order_of_rows(data):
    other = replace(
        data,
        corpus=dict(reversed(data.corpus.items())),
        queries=dict(reversed(data.queries.items())),
        qrels={id_: dict(reversed(each.items())) for id_, each in reversed(data.qrels.items())},
    )
    assert content_hashes(other) == content_hashes(data)


def test_texts_cannot_move_between_fields_without_another_hash(data):
    one, two = (
        replace(data, corpus={"d": Document(text, title)})
        for text, title in (("a b", "c"), ("b", "c a"))
    )
    assert content_hashes(one)["corpus"] != content_hashes(two)["corpus"]


def test_a_plan_of_another_curve_is_refused(curve, data):
    other = evaluate(NestedHashEncoder(), made_set(300, 500, seed=1), Grid(dims=(64, 16)))
    with pytest.raises(InvalidArgument, match="was not made from this curve"):
        certify(curve, plan(other, BUDGET))


def test_a_certificate_of_an_old_curve_has_no_hashes_of_the_data(curve, data):
    dataset = {name: value for name, value in curve.dataset.items() if name != "sha256"}
    old: Curve = replace(curve, dataset=dataset)
    certificate = certify(old, plan(old, BUDGET))
    assert verify_certificate(certificate, curve=old).valid
    with pytest.raises(InvalidArgument, match="has no hashes of the data"):
        verify_certificate(certificate, data=data)


@pytest.mark.parametrize(
    "change",
    [
        {"tested": []},
        {"scores": {}},
        {"seed": "x"},
        {"version": 2},
        {"budget": {"min_retention": 3}},
        {"statement": {"point": "nonsense"}},
    ],
    ids=str,
)
def test_what_is_no_certificate_is_refused(values, load, change):
    with pytest.raises(DataError, match=r"certificate\.json: is not a certificate"):
        load({**values, **change})
