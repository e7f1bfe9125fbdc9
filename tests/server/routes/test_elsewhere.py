"""What only the Hugging Face Hub has is told in words that its clients understand."""

import pytest
from tests.server.hub_app import Client, commit, inline, make_repository


@pytest.mark.parametrize("path", ["/api/models/gpt2", "/gpt2/resolve/main/config.json"])
def test_a_name_without_a_namespace_is_no_repository(client: Client, path: str) -> None:
    for token, status in (("hf_ada", 404), (None, 401)):
        reply = client.get(path, token=token)
        assert (reply.status_code, reply.headers["X-Error-Code"]) == (status, "RepoNotFound")


@pytest.mark.parametrize("path", ["/api/collections", "/api/spaces/ada/x/runtime", "/api/jobs/ada"])
def test_what_this_hub_does_not_do_is_501(client: Client, path: str) -> None:
    reply = client.get(path)

    assert (reply.status_code, reply.headers["X-Error-Code"]) == (501, "NotImplemented")


def test_tags_are_those_of_what_the_caller_may_see(client: Client) -> None:
    make_repository(client, private=True)
    commit(client, "ada/x", inline("README.md", b"---\nlicense: mit\ntags: [digits]\n---\n"))

    said = client.get("/api/models-tags-by-type").json()

    assert said["license"] == [{"id": "license:mit", "label": "mit", "type": "license"}]
    assert said["other"] == [{"id": "digits", "label": "digits", "type": "other"}]
    assert client.get("/api/models-tags-by-type", token="hf_ben").json() == {}
