"""`nestvec serve` with an index in LanceDB."""

from serving_index import check_served_index


def test_an_index_in_a_folder_is_served(word_model, tmp_path):
    check_served_index(f"lance://{tmp_path}/lance", word_model, tmp_path)
