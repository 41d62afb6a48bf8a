"""`nestvec serve` with an index in Milvus Lite, which runs in the process of the server."""

from serving_index import check_served_index


def test_an_index_in_milvus_lite_is_served(word_model, tmp_path):
    check_served_index(f"milvus-lite://{tmp_path}/lite.db", word_model, tmp_path)
