"""BM25 splits all scripts into words, removes stop words of English only, and counts misses."""

from dataclasses import replace

import pytest

from fakes import NestedHashEncoder, retrieval_set
from nestvec.measure.baselines import rank_bm25
from nestvec.measure.grid import Grid
from nestvec.measure.run import evaluate
from nestvec.measure.words import split_words, stop_words_of

JAPANESE = [
    "東京は日本の首都です。人口は約千四百万人です。",
    "京都には古い寺院が多く、観光客が毎年訪れます。",
    "大阪の料理ではたこ焼きが有名です。",
    "富士山は日本で一番高い山です。",
]
GERMAN = [
    "Der Hund was in an of will schläft in der Hütte.",
    "Die Katze ist in der Küche und will Milch.",
    "Es ist an der Zeit, in die Stadt zu fahren.",
]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat's 2 mats", ["the", "cat", "mats"]),
        ("iPhoneを買う 2020年", ["iphone", "を買", "買う", "2020", "年"]),
        ("猫", ["猫"]),
        ("中国語。日本", ["中国", "国語", "日本"]),
        ("한국어를 배우다", ["한국", "국어", "어를", "배우", "우다"]),
        ("ＡＢＣ ｶﾀｶﾅ", ["abc", "カタ", "タカ", "カナ"]),
        ("ภาษา", ["ภา", "าษ", "ษา"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),  # vowel signs are part of a word
        ("Привет, мир", ["привет", "мир"]),
        ("naïve Straße", ["naïve", "straße"]),
        ("", []),
    ],
)
def test_texts_are_split_by_script(text, words):
    assert split_words([text]) == [words]


@pytest.mark.parametrize(
    ("documents", "queries"),
    [
        (
            JAPANESE,
            ["日本の首都はどこですか", "京都の寺院", "たこ焼きの料理", "一番高い山は何ですか"],
        ),
        (["北京是中国的首都", "上海是最大的城市", "长城在北方"], ["中国首都", "最大城市", "长城"]),
        (["서울은 한국의 수도이다", "부산은 항구 도시이다"], ["한국 수도", "항구가 있는 도시"]),
        (["กรุงเทพเป็นเมืองหลวง", "เชียงใหม่อยู่ทางเหนือ"], ["เมืองหลวงคือ", "ทางเหนือ"]),
        (["दिल्ली भारत की राजधानी है", "मुंबई समुद्र के पास है"], ["भारत राजधानी", "समुद्र"]),
    ],
)
def test_bm25_ranks_scripts_without_spaces(documents, queries):
    ranked = rank_bm25(queries, documents, depth=1)
    assert ranked[:, 0].tolist() == list(range(len(queries)))


def test_bm25_of_a_japanese_set_is_not_zero():
    documents = {f"d{n}": text for n, text in enumerate(JAPANESE)}
    queries = {"q0": "日本の首都", "q1": "古い寺院", "q2": "quantum computers"}
    data = retrieval_set(documents, queries, {f"q{n}": {f"d{n}": 1} for n in range(3)})
    grid = Grid(dims=(64,), precisions=("float32",), shortlisted=(), baselines=("bm25",))
    curve = evaluate(NestedHashEncoder(), data, grid)
    assert curve.baselines["bm25"][0].metrics["ndcg@10"] == pytest.approx(2 / 3)
    assert curve.counts["bm25_queries_without_match"] == 1
    without = evaluate(NestedHashEncoder(), data, replace(grid, baselines=()))
    assert "bm25_queries_without_match" not in without.counts


def test_stop_words_are_removed_from_english_texts_only():
    english = split_words(["the cat sat on the mat", "it will rain in the night"])
    assert {"the", "it", "will", "in"} <= stop_words_of(english)
    assert stop_words_of(split_words(GERMAN)) == frozenset()
    assert stop_words_of([]) == frozenset()
    # "will" is a word of the German documents and is searched as one.
    assert rank_bm25(["will Milch", "was"], GERMAN, depth=1)[:, 0].tolist() == [1, 0]
