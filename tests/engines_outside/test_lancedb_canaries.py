"""An index in this engine stores its canaries."""

from canary_story import check_canaries


def test_the_index_stores_its_canaries(tmp_path):
    check_canaries(f"lance://{tmp_path}/index", tmp_path)
