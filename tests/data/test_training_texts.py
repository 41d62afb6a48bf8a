"""Training texts: the columns determine the kind, and errors are one line."""

import pytest

from nestvec.data.similarity import ScoredPairs
from nestvec.data.training import TrainingPairs, load_training_texts
from nestvec.errors import DataError, InvalidArgument

PAIRS = "anchor,positive\na,b\nc,d\n"
SCORED = "sentence1,sentence2,score\na,b,0.5\nc,d,1\ne,f,0\n"


def written(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return [folder / f"{name}.csv" for name in files]


def test_each_file_is_what_its_columns_say(tmp_path):
    texts = load_training_texts(written(tmp_path, pairs=PAIRS, scored=SCORED))
    assert list(texts) == ["pairs", "scored"]
    assert isinstance(texts["pairs"], TrainingPairs)
    assert isinstance(texts["scored"], ScoredPairs)
    assert texts["scored"].scores == [0.5, 1, 0]


def test_files_of_one_name_stay_apart(tmp_path):
    (tmp_path / "other").mkdir()
    paths = written(tmp_path, train=PAIRS) + written(tmp_path / "other", train=SCORED)
    assert list(load_training_texts(paths)) == ["train", "train-2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sentence1,sentence2,score\na,b,0.5\nc,d,inf\ne,f,0\n", "bad.csv:3: score .inf. is not a"),
        ("sentence1,sentence2,score\na,b,0.5\nc,d,\ne,f,0\n", "bad.csv:3: score .. is not a"),
        ("title,body\na,b\n", "missing column 'anchor'"),
        ("anchor,positive\na,\n", "no row has both anchor and positive"),
        ("anchor,positive\na,b\na,c\n", "the same anchor"),
    ],
)
def test_unusable_training_texts_raise(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        load_training_texts(written(tmp_path, bad=text))


def test_no_training_file_raises():
    with pytest.raises(InvalidArgument, match="No training file"):
        load_training_texts([])
