from dataclasses import replace

import pytest

from nestvec.errors import InvalidArgument
from nestvec.report.card import write_card


def test_card_is_the_table_and_where_its_numbers_are_from(curves, tmp_path):
    write_card(curves["Matryoshka"], tmp_path / "card.md")
    table, _, sentence = (tmp_path / "card.md").read_text().partition("\n\n")
    assert table.startswith("| % of nDCG@10 retained | 512 dims |") and table.count("\n") == 7
    assert "`docs`, split test, 46,254 documents with nestvec" in sentence
    assert "100 % is 512 dims at float32: nDCG@10 .582" in sentence
    assert "Evidence: relevance labels. 2,000 queries, each" in sentence


def test_name_of_a_data_set_cannot_become_markdown(curves, tmp_path):
    name = "a`b\n# heading\n[x](http://y)"
    curve = replace(curves["Matryoshka"], dataset={"name": name})
    write_card(curve, tmp_path / "card.md")
    last = (tmp_path / "card.md").read_text().splitlines()[-1]
    assert "`a'b # heading [x](http://y)`" in last


def test_card_of_agreement_does_not_mention_quality(agreement, tmp_path):
    write_card(agreement, tmp_path / "card.md")
    text = (tmp_path / "card.md").read_text()
    assert "% agreement (overlap@10)" in text and "agreement only" in text
    assert "retained" not in text and "confirmed" not in text


def test_metric_that_was_not_measured_leaves_no_file(curves, tmp_path):
    with pytest.raises(InvalidArgument, match="was not measured"):
        write_card(curves["Matryoshka"], tmp_path / "card.md", "mrr@10")
    assert list(tmp_path.iterdir()) == []
