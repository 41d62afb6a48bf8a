def test_it_answers(client):
    answer = client.post("/v1/search", {"query": "read a csv file", "k": 3})
    assert answer.status_code == 200
    assert len(answer.json()["hits"]) == 3
