"""The losses as a trainer calls them: equal to the library's MatryoshkaLoss around its losses."""

import copy
from itertools import permutations

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses as library
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

from nestvec.errors import InvalidArgument
from nestvec.train.losses import (
    NestedCoSENTLoss,
    NestedMultipleNegativesRankingLoss,
    NestedTripletLoss,
)
from nestvec.train.ranking_loss import text_keys

N, WIDTH = 12, 16
DIMS, WEIGHTS = (7, 16, 4), (2.0, 1.0, 0.3)
EVERY = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")


@pytest.fixture
def model():
    """Each word is one token, so that a text's vector, and its gradient, is a row of the table."""
    words = {f"w{number}": number for number in range(4 * N)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    table = torch.randn(4 * N, WIDTH, generator=torch.Generator().manual_seed(0)) * 3
    table[N : 2 * N] += 0.5 * table[:N]
    return SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=table.numpy())], device="cpu"
    )


def columns(model, n_columns):
    return [
        model.preprocess([f"w{number}" for number in range(column * N, (column + 1) * N)])
        for column in range(n_columns)
    ]


def value_and_gradient(loss, model, features, labels=None):
    model.zero_grad()
    value = loss(features, labels)
    value.backward()
    return value.detach(), model[0].embedding.weight.grad.clone()


def assert_same(actual, reference):
    torch.testing.assert_close(actual[0], reference[0], rtol=1e-5, atol=1e-6)
    largest = float(reference[1].abs().max())
    torch.testing.assert_close(actual[1], reference[1], rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize("n_columns", [2, 3, 4])
@pytest.mark.parametrize(
    ("directions", "mode"),
    [
        (("query_to_doc",), "joint"),
        (EVERY, "joint"),
        (("doc_to_query", "query_to_doc"), "joint"),
        (("query_to_doc", "doc_to_query"), "per_direction"),
    ],
)
def test_ranking_equals_matryoshka_loss_of_the_library(model, n_columns, directions, mode):
    inner = library.MultipleNegativesRankingLoss(
        model, scale=15.0, directions=directions, partition_mode=mode
    )
    reference = library.MatryoshkaLoss(model, inner, list(DIMS), list(WEIGHTS))
    actual = NestedMultipleNegativesRankingLoss(
        model,
        DIMS,
        WEIGHTS,
        15.0,
        directions=directions,
        partition_mode=mode,
        mask_duplicates=False,
    )
    features = columns(model, n_columns)
    assert_same(
        value_and_gradient(actual, model, features), value_and_gradient(reference, model, features)
    )


def test_cosent_equals_matryoshka_loss_of_the_library(model):
    labels = torch.tensor([0.1, 0.9, 0.5, 0.5, 0.0, 1.0, 0.2, 0.2, 0.7, 0.3, 0.4, 0.6])
    reference = library.MatryoshkaLoss(model, library.CoSENTLoss(model), list(DIMS), list(WEIGHTS))
    features = columns(model, 2)
    assert_same(
        value_and_gradient(NestedCoSENTLoss(model, DIMS, WEIGHTS), model, features, labels),
        value_and_gradient(reference, model, features, labels),
    )


def test_triplet_equals_matryoshka_loss_of_the_library(model):
    inner = library.TripletLoss(
        model, distance_metric=library.TripletDistanceMetric.COSINE, triplet_margin=0.3
    )
    reference = library.MatryoshkaLoss(model, inner, list(DIMS), list(WEIGHTS))
    features = columns(model, 3)
    assert_same(
        value_and_gradient(NestedTripletLoss(model, DIMS, WEIGHTS, 0.3), model, features),
        value_and_gradient(reference, model, features),
    )


def test_the_target_is_the_ranking_at_full_width(model):
    features, dims = columns(model, 3), (4, 16)
    loss = NestedMultipleNegativesRankingLoss(model, dims, teach=0.7, directions=EVERY)
    plain = NestedMultipleNegativesRankingLoss(model, dims, directions=EVERY)
    found = value_and_gradient(loss, model, features)
    expected, gradient = value_and_gradient(plain, model, features)
    model.zero_grad()
    anchors, candidates = columns_as_vectors(model, features)
    target, student = (
        every_direction(anchors[:, :dim], candidates[:, :dim], 20.0).log_softmax(1)
        for dim in (16, 4)
    )
    at_full_width = torch.nn.functional.kl_div(
        target, target.detach(), reduction="none", log_target=True
    )
    at_prefix = torch.nn.functional.kl_div(
        student, target.detach(), reduction="none", log_target=True
    )
    divergence = (at_prefix + at_full_width).nan_to_num(0).sum() / N
    divergence.backward()
    expected += 0.7 * divergence.detach()
    gradient += 0.7 * model[0].embedding.weight.grad.nan_to_num(0)
    assert_same(found, (expected, gradient))


def test_the_target_of_all_widths_is_the_ranking_of_a_teacher(model):
    features, dims = columns(model, 2), (4, 16)
    teacher = copy.deepcopy(model)
    with torch.no_grad():
        teacher[0].embedding.weight.mul_(torch.linspace(0, 1, 16))
    loss = NestedMultipleNegativesRankingLoss(model, dims, teach=0.7, teacher=teacher)
    found = value_and_gradient(loss, model, features)
    expected, gradient = value_and_gradient(
        NestedMultipleNegativesRankingLoss(model, dims), model, features
    )
    model.zero_grad()
    normalize = torch.nn.functional.normalize
    sides = columns_as_vectors(model, features)
    target = [normalize(each) for each in columns_as_vectors(teacher, features)]
    target = (20 * target[0] @ target[1].T).log_softmax(1).detach()
    divergence = torch.zeros(())
    for dim in dims:
        student = [normalize(each[:, :dim]) for each in sides]
        student = (20 * student[0] @ student[1].T).log_softmax(1)
        divergence = divergence + torch.nn.functional.kl_div(
            student, target, reduction="batchmean", log_target=True
        )
    divergence.backward()
    expected += 0.7 * divergence.detach()
    gradient += 0.7 * model[0].embedding.weight.grad
    assert_same(found, (expected, gradient))


def columns_as_vectors(model, features):
    anchors, *candidates = (model(each)["sentence_embedding"] for each in features)
    return anchors, torch.cat(candidates)


def every_direction(anchors, candidates, scale):
    """Cosines of all four directions, very low for a text and itself or its own pair."""
    anchors, candidates = (torch.nn.functional.normalize(each) for each in (anchors, candidates))
    own = torch.eye(N, dtype=torch.bool)
    parts = [
        anchors @ candidates.T,
        (anchors @ anchors.T).masked_fill(own, -10),
        candidates[:N] @ anchors.T,
        (candidates[:N] @ candidates.T).masked_fill(own.repeat(1, 2), -10),
    ]
    return scale * torch.cat(parts, dim=1)


def duplicated(model, labels=None):
    """Pairs: the last has the anchor of the first pair, the one before has its positive."""
    texts = [f"w{number}" for number in range(N)], [f"w{number}" for number in range(N, 2 * N)]
    texts[0][-1] = texts[0][0]
    texts[1][-2] = texts[1][0]
    return [model.preprocess(column) for column in texts]


def formula(model, features, masked):
    """The weighted sum over prefixes, with some pairs of rows and candidates excluded."""
    anchors, candidates = columns_as_vectors(model, features)
    total = 0.0
    for dim, weight in zip(DIMS, WEIGHTS, strict=True):
        one, other = (
            torch.nn.functional.normalize(each[:, :dim]) for each in (anchors, candidates)
        )
        scores = 20 * one @ other.T
        excluded = torch.zeros(N, N, dtype=torch.bool)
        excluded[[line for line, _ in masked], [column for _, column in masked]] = True
        scores = scores.masked_fill(excluded, -1e9)
        total += weight * torch.nn.functional.cross_entropy(scores, torch.arange(N))
    return total


def test_equal_texts_are_not_negatives(model):
    features = duplicated(model)
    loss = NestedMultipleNegativesRankingLoss(model, DIMS, WEIGHTS)
    last = N - 1
    # The last asks what the first asks, and the positive of the first stands twice.
    same = [(0, last), (last, 0), (0, last - 1), (last - 1, 0)]
    expected = formula(model, features, same)
    torch.testing.assert_close(loss(features, None), expected)
    assert loss(features, None) < formula(model, features, [])


def test_pairs_with_equal_labels_are_not_negatives_of_each_other(model):
    labels = torch.arange(N)
    labels[3] = labels[5]
    loss = NestedMultipleNegativesRankingLoss(model, DIMS, WEIGHTS)
    expected = formula(model, columns(model, 2), [(3, 5), (5, 3)])
    torch.testing.assert_close(loss(columns(model, 2), labels), expected)


def test_padding_does_not_change_the_key_of_a_text(bert_folder):
    model = SentenceTransformer(str(bert_folder), device="cpu")
    loss = NestedMultipleNegativesRankingLoss(model, (8,))
    features = [model.preprocess(["a b", "a b c d e f"]), model.preprocess(["c", "a b"])]
    relations = loss._relations_of([text_keys(each) for each in features], None)
    assert relations.anchors[0] == relations.candidates[1]
    assert len({*relations.anchors.tolist(), *relations.candidates.tolist()}) == 3


@pytest.mark.parametrize(
    ("directions", "teach"), [(("query_to_doc",), 0.0), (EVERY, 0.0), (EVERY, 1.0)]
)
def test_cached_gradients_of_parts_equal_those_of_the_whole(bert_folder, directions, teach):
    distinct = [" ".join(words) for words in permutations(["read", "csv", "table", "find"], 3)]
    texts = distinct[:9], distinct[9:18]

    def gradients(mini_batch_size):
        torch.manual_seed(0)
        model = SentenceTransformer(str(bert_folder), device="cpu").eval()
        loss = NestedMultipleNegativesRankingLoss(
            model,
            (8, 16),
            mini_batch_size=mini_batch_size,
            directions=directions,
            teach=teach,
            teacher=SentenceTransformer(str(bert_folder), device="cpu"),
        )
        value = loss([model.preprocess(column) for column in texts], None)
        value.backward()
        return value.detach(), [each.grad for each in model.parameters() if each.grad is not None]

    whole, parts = gradients(None), gradients(4)
    assert whole[0] > 1
    torch.testing.assert_close(parts[0], whole[0])
    for actual, reference in zip(parts[1], whole[1], strict=True):
        torch.testing.assert_close(actual, reference, rtol=1e-3, atol=1e-6)


def test_similarities_stay_float32_under_autocast(model):
    features = columns(model, 2)
    loss = NestedMultipleNegativesRankingLoss(model, DIMS, WEIGHTS)
    expected = value_and_gradient(loss, model, features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = value_and_gradient(loss, model, features)
    assert found[0].dtype == torch.float32
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"matryoshka_dims": (32, 8)}, "dim 32 is larger than the model's width 16"),
        ({"matryoshka_dims": ()}, "distinct widths of at least 1"),
        ({"matryoshka_dims": (8, 8)}, "distinct widths of at least 1"),
        ({"matryoshka_dims": (8, 0)}, "distinct widths of at least 1"),
        ({"matryoshka_dims": (8, 4), "matryoshka_weights": (1,)}, "1 weights for 2 dims"),
        ({"matryoshka_dims": (8,), "matryoshka_weights": (-1,)}, "Use finite values of 0 or more"),
        ({"matryoshka_dims": (8,), "scale": 0}, "scale=0 is out of range"),
        ({"matryoshka_dims": (8,), "teach": -1}, "teach=-1 is out of range"),
        ({"matryoshka_dims": (8,), "mini_batch_size": 0}, "mini_batch_size=0 is less than 1"),
        ({"matryoshka_dims": (8,), "directions": ("doc_to_doc",)}, "do not include query_to_doc"),
        ({"matryoshka_dims": (8,), "directions": ("query_to_doc", "up")}, "'up' is not one of"),
        ({"matryoshka_dims": (8,), "directions": EVERY[:1] * 2}, "repeat a value"),
        ({"matryoshka_dims": (8,), "partition_mode": "all"}, "'all' is not one of joint"),
        (
            {"matryoshka_dims": (8,), "directions": EVERY, "partition_mode": "per_direction"},
            "doc_to_doc, query_to_query has no positive pair",
        ),
    ],
)
def test_invalid_settings_are_rejected(model, settings, message):
    with pytest.raises(InvalidArgument, match=message):
        NestedMultipleNegativesRankingLoss(model, **settings)


def test_a_margin_that_cosines_cannot_reach_is_rejected(model):
    with pytest.raises(InvalidArgument, match="margin=5 is out of range"):
        NestedTripletLoss(model, (8,), margin=5)


def test_one_column_is_rejected(model):
    with pytest.raises(InvalidArgument, match="Use columns for an anchor and a positive"):
        NestedMultipleNegativesRankingLoss(model, (8,))(columns(model, 1), None)


def test_keys_do_not_depend_on_the_form_of_features():
    """Padded at either end, or flattened to one row; an empty text has a key, too."""
    ids = torch.tensor([[5, 6, 0, 0], [5, 6, 7, 0], [6, 5, 0, 0], [0, 0, 0, 0]])
    right = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    left = {name: column.flip(1).clone() for name, column in right.items()}
    for row, length in enumerate((2, 3, 2, 0)):
        left["input_ids"][row, 4 - length :] = ids[row, :length]
    flat = {"input_ids": torch.tensor([5, 6, 5, 6, 7, 6, 5]), "offsets": torch.tensor([0, 2, 5, 7])}
    packed = {
        "input_ids": flat["input_ids"][None],
        "cu_seq_lens_q": torch.tensor([0, 2, 5, 7, 7], dtype=torch.int32),
    }
    keys = [text_keys(features).tolist() for features in (right, left, flat, packed)]
    assert keys[0] == keys[1] == keys[2] == keys[3]
    assert len(set(keys[0])) == 4
