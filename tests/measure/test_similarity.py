"""Pairs, triplets and labeled texts: metrics equal to reference implementations, one encode."""

import math

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.neighbors import KNeighborsClassifier

from fakes import NestedHashEncoder, fake_info
from nestvec.codec.codec import Codec
from nestvec.codec.prefix import as_stored, prefix
from nestvec.curve.curve import Curve
from nestvec.data.similarity import LabeledTexts, ScoredPairs, Triplets
from nestvec.errors import InvalidArgument, ModelError
from nestvec.measure.comparisons import Vectors, correlations, label_agreement, triplet_accuracy
from nestvec.measure.grid import Grid
from nestvec.measure.similarity import evaluate_similarity
from nestvec.models.precomputed import PrecomputedVectors, save_vectors

GRID = Grid(precisions=("float32", "int8", "binary"))
POINTS = [f"{dim}:{precision}" for dim in (64, 32, 16) for precision in GRID.precisions]


def words(rng, n, *, topic=0):
    return " ".join(f"w{20 * topic + number}" for number in rng.integers(20, size=n))


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    first = [words(rng, 8, topic=n % 3) for n in range(60)]
    shared = rng.integers(0, 9, size=60)
    second = [
        " ".join([*text.split()[:k], *words(rng, 8, topic=5).split()[k:]])
        for text, k in zip(first, shared, strict=True)
    ]
    return ScoredPairs("made", first, second, shared.astype(float).tolist())


@pytest.fixture(scope="module")
def labeled():
    rng = np.random.default_rng(1)
    texts = [f"{words(rng, 3, topic=n % 4)} {words(rng, 4, topic=7)} own{n}" for n in range(160)]
    labels = [f"label {n % 4}" for n in range(160)]
    return LabeledTexts(
        *("made", "test", texts[40:], labels[40:], texts[:40], labels[:40]),
        counts={"duplicate_texts": 0},
    )


@pytest.fixture(scope="module")
def labeled_curve(labeled):
    model = NestedHashEncoder(fake_info(max_tokens=7))
    return evaluate_similarity(model, labeled, GRID)


def triplets(rng, n=40):
    anchors = [words(rng, 6, topic=i % 3) for i in range(n)]
    positives = [words(rng, 6, topic=i % 3) for i in range(n)]
    return Triplets("made", anchors, positives, [words(rng, 6, topic=9) for _ in range(n)])


def at_point(model, point, texts, fitted_on):
    """Return the float and the decoded vectors of texts, by the codec alone."""
    stage = point.stages[0]
    sample = as_stored(model.encode(fitted_on, kind="document"))
    codec = Codec.fit_stored(sample, stage.dim, stage.precision)
    vectors = model.encode(texts, kind="document")
    return codec.prepare(vectors), codec.decode(codec.encode_stored(as_stored(vectors)))


def test_correlations_equal_scipys_on_the_codecs_vectors(pairs):
    model = NestedHashEncoder()
    curve = evaluate_similarity(model, pairs, GRID)
    assert [str(row.point) for row in curve.points] == POINTS
    everything = list(dict.fromkeys([*pairs.first, *pairs.second]))
    for row in curve.points:
        floats = at_point(model, row.point, pairs.first, everything)[0]
        decoded = at_point(model, row.point, pairs.second, everything)[1]
        scores = (floats * decoded).sum(axis=1)
        expected = spearmanr(scores, pairs.scores).statistic
        assert row.metrics["spearman"] == pytest.approx(expected, abs=1e-3)  # near-ties may swap
        expected = pearsonr(scores, pairs.scores).statistic
        assert row.metrics["pearson"] == pytest.approx(expected, abs=1e-5)
        full = curve.full.metrics["spearman"]
        assert row.retention["spearman"] == pytest.approx(row.metrics["spearman"] / full)
        low, high = row.interval["spearman"]
        assert low <= row.retention["spearman"] <= high
    assert curve.full.interval["spearman"] == (1, 1)
    assert curve.main_metric == "spearman"


def test_a_correlation_has_no_value_for_each_item(pairs):
    curve = evaluate_similarity(NestedHashEncoder(), pairs, GRID)
    with pytest.raises(InvalidArgument, match="has no per-query scores"):
        curve.per_query("spearman", "16:binary")


def test_an_interval_covers_the_value_on_more_pairs():
    rng = np.random.default_rng(5)

    def drawn(n):
        gold = rng.standard_normal(n)
        full, cheap = (gold + noise * rng.standard_normal(n) for noise in (0.5, 1.0))
        decoded = np.zeros((2 * n, 1), dtype=np.float32) + 1
        points = [
            Vectors(np.concatenate([s, s]).astype(np.float32)[:, None], decoded)
            for s in (full, cheap)
        ]
        return correlations(points, np.arange(n), np.arange(n, 2 * n), gold, seed=0)["spearman"]

    # Of two Gaussians with correlation r, Spearman's is 6 / pi * asin(r / 2).
    full, cheap = (math.asin(1 / math.sqrt(1 + noise**2) / 2) for noise in (0.5, 1.0))
    share = cheap / full
    intervals = [drawn(150).intervals[1] for _ in range(40)]
    covered = sum(low <= share <= high for low, high in intervals)
    assert covered >= 34  # 38 expected
    assert np.mean([high - low for low, high in intervals]) < 0.3  # the intervals are not too wide


def test_accuracy_counts_triplets_whose_positive_scores_higher():
    made = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8], [-1, 0]], dtype=np.float32)
    points = [Vectors(made, made), Vectors(made, made[:, ::-1])]
    rows = np.array([0, 0, 0]), np.array([1, 2, 1]), np.array([2, 1, 1])
    (measured,) = triplet_accuracy(points, *rows).values()
    assert measured.items.tolist() == [[1, 0, 0], [0, 1, 0]]  # a tie is not right
    assert measured.retention.tolist() == [1, 1]


def test_triplets_have_a_value_for_each_item():
    curve = evaluate_similarity(NestedHashEncoder(), triplets(np.random.default_rng(2)), GRID)
    right = curve.per_query("accuracy", "16:binary")
    assert set(right.tolist()) <= {0, 1}
    assert curve["16:binary"].metrics["accuracy"] == right.mean()
    assert 0.6 < curve.full.metrics["accuracy"] <= 1


def test_the_vote_of_neighbors_equals_scikit_learns(labeled, labeled_curve):
    model, curve = NestedHashEncoder(), labeled_curve
    everything = [*labeled.test, *labeled.train]
    for row in curve.points:
        floats = at_point(model, row.point, labeled.test, everything)[0]
        decoded = at_point(model, row.point, labeled.train, everything)[1]
        scores = floats @ decoded.T
        nearest = np.argsort(-scores, axis=1)[:, :10]
        votes = [
            np.unique(np.array(labeled.train_labels)[line], return_counts=True) for line in nearest
        ]
        clear = np.array(
            [np.sort(counts)[-1] > (np.sort(counts)[-2:-1].sum()) for _, counts in votes]
        )
        voted = np.array([names[counts.argmax()] for names, counts in votes])
        expected = voted == np.array(labeled.test_labels)
        found = curve.per_query("knn-accuracy@10", row.point)
        assert clear.mean() > 0.6
        assert (found[clear] == expected[clear]).all()
    full = KNeighborsClassifier(10, metric="cosine")
    full.fit(prefix(model.encode(labeled.train, kind="document"), 64), labeled.train_labels)
    reference = full.score(
        prefix(model.encode(labeled.test, kind="document"), 64), labeled.test_labels
    )
    assert curve.full.metrics["knn-accuracy@10"] == pytest.approx(reference, abs=0.08)  # ties


def test_ties_of_votes_are_decided_by_the_nearest():
    train = np.array([[1, 0], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0, 1]], dtype=np.float32)
    vectors = np.vstack([train, [[1, 0]]]).astype(np.float32)
    labels = ["b", "a", "a", "b", "c", "b"]
    points = [Vectors(vectors, vectors)]
    measured = label_agreement(points, np.arange(5), np.array([5]), labels, k=4, seed=0)
    assert measured["knn-accuracy@4"].items.tolist() == [[1]]


def test_clusters_equal_to_the_labels_score_1_and_random_ones_about_0(labeled, labeled_curve):
    rng = np.random.default_rng(3)
    labels = [str(n % 3) for n in range(90)]
    apart = np.eye(3, dtype=np.float32)[np.arange(90) % 3] + rng.normal(0, 0.01, (90, 3))
    mixed = rng.standard_normal((90, 3))
    points = [Vectors(each.astype(np.float32), each.astype(np.float32)) for each in (apart, mixed)]
    measured = label_agreement(points, np.arange(45), np.arange(45, 90), labels, k=3, seed=0)
    values = measured["v-measure"].values
    assert values[0] == pytest.approx(1)
    assert values[1] < 0.2
    assert measured["v-measure"].retention[1] == pytest.approx(values[1])
    assert "v-measure" not in labeled_curve.full.interval
    again = evaluate_similarity(NestedHashEncoder(), labeled, Grid(dims=(64,), precisions=()))
    assert again.full.metrics == labeled_curve.full.metrics


def test_each_text_is_encoded_once_and_as_a_document(pairs):
    model = NestedHashEncoder()
    evaluate_similarity(model, pairs, GRID)
    assert set(model.times_encoded("document").values()) == {1}
    assert model.times_encoded("document").keys() == {*pairs.first, *pairs.second}
    assert not model.times_encoded("query")


def test_the_curve_describes_its_data_and_is_saved_and_loaded(tmp_path, labeled_curve):
    curve = labeled_curve
    assert curve.dataset["task"] == "labeled texts"
    assert (curve.dataset["n_documents"], curve.dataset["n_queries"]) == (160, 40)
    assert curve.evidence == "labels"
    assert curve.counts == {"duplicate_texts": 0, "zero_documents": 0, "cut_documents": 160}
    assert curve["16:binary"].cost.ram_bytes_per_vector == 2
    curve.save(tmp_path / "curve.json")
    loaded = Curve.load(tmp_path / "curve.json")
    assert loaded.points == curve.points
    assert (
        loaded.scores.metrics["knn-accuracy@10"] == curve.scores.metrics["knn-accuracy@10"]
    ).all()


def test_a_folder_of_vectors_is_rejected(tmp_path, pairs):
    for kind in ("document", "query"):
        save_vectors(["a"], np.ones((1, 4), dtype=np.float32), tmp_path, kind=kind)
    with pytest.raises(ModelError, match="the texts of made have no ids"):
        evaluate_similarity(PrecomputedVectors.load(tmp_path), pairs, GRID)
