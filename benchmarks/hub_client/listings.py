"""What a repository has and which repositories there are; branches, tags and history."""

import functools
from typing import Any

from benchmarks.hub_client.session import (
    DATASET,
    MODEL,
    ada,
    ask,
    ben,
    check,
    eve,
    nobody,
    reader,
    refused,
)
from huggingface_hub.utils import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


@check()
def a_repository_is_described() -> None:
    said: Any = ada.model_info(MODEL, files_metadata=True)
    assert said.private is False and said.pipeline_tag == "image-classification"
    assert "digits" in said.tags and said.card_data.license == "mit"
    assert said.config["model_type"] == "bert"
    large = next(each for each in said.siblings if each.rfilename == "model.safetensors")
    assert large.size == 3 << 20 and large.lfs is not None
    expanded = ada.model_info(MODEL, expand=["downloads", "likes", "tags", "safetensors", "gated"])
    assert expanded.downloads is not None and expanded.gated is False
    assert ada.model_info(MODEL, revision=said.sha).sha == said.sha
    refused(RevisionNotFoundError, lambda: ada.model_info(MODEL, revision="none"), 404)
    refused(RepositoryNotFoundError, lambda: ada.model_info("ada/none"), 404)


@check()
def trees_and_paths_are_listed() -> None:
    ada.upload_file(path_or_fileobj=b"hi", path_in_repo="a b/\u00e9 x.txt", repo_id=MODEL)
    found = {each.path: each for each in ada.list_repo_tree(MODEL, recursive=True, expand=True)}
    assert "a b/\u00e9 x.txt" in found and found["model.safetensors"].last_commit is not None
    assert [each.path for each in ada.list_repo_tree(MODEL, "a b")] == ["a b/\u00e9 x.txt"]
    refused(EntryNotFoundError, lambda: list(ada.list_repo_tree(MODEL, "none")))
    asked = ada.get_paths_info(MODEL, ["README.md", "none", "a b"], expand=True)
    assert {each.path for each in asked} == {"README.md", "a b"}
    assert ada.file_exists(MODEL, "README.md") and not ada.file_exists(MODEL, "none")
    assert ada.repo_exists(MODEL) and not ada.repo_exists("ada/none")
    assert ada.revision_exists(MODEL, "main") and not ada.revision_exists(MODEL, "none")


@check()
def branches_and_tags_come_and_go() -> None:
    ada.create_branch(MODEL, branch="dev/x")
    refused(HfHubHTTPError, lambda: ada.create_branch(MODEL, branch="dev/x"), 409)
    ada.create_branch(MODEL, branch="dev/x", exist_ok=True)
    ada.upload_file(path_or_fileobj=b"dev", path_in_repo="dev.txt", repo_id=MODEL, revision="dev/x")
    assert ada.file_exists(MODEL, "dev.txt", revision="dev/x") and not ada.file_exists(MODEL, "dev.txt")
    ada.create_tag(MODEL, tag="v1", tag_message="first")
    refused(HfHubHTTPError, lambda: ada.create_tag(MODEL, tag="v1"), 409)
    refs = ada.list_repo_refs(MODEL, include_pull_requests=True)
    assert {"main", "dev/x"} <= {each.name for each in refs.branches} and refs.tags[0].name == "v1"
    ada.delete_branch(MODEL, branch="dev/x")
    ada.delete_tag(MODEL, tag="v1")
    refused(HfHubHTTPError, lambda: ada.delete_branch(MODEL, branch="main"), 403)
    refused(RevisionNotFoundError, lambda: ada.delete_tag(MODEL, tag="v1"), 404)


@check()
def a_history_is_listed() -> None:
    found = ada.list_repo_commits(MODEL, formatted=True)
    assert found[-1].title == "initial commit" and found[0].authors == ["ada"]


@check()
def others_hear_what_they_may() -> None:
    refused(RepositoryNotFoundError, lambda: nobody.dataset_info(DATASET), 401)
    refused(RepositoryNotFoundError, lambda: eve.dataset_info(DATASET), 404)
    assert ben.dataset_info(DATASET).private
    wanted: dict[str, Any] = {"path_or_fileobj": b"x", "path_in_repo": "x", "repo_id": MODEL}
    for other in (ben, eve, reader):
        refused(HfHubHTTPError, functools.partial(other.upload_file, **wanted), 403)


@check()
def listings_are_filtered() -> None:
    def models(**asked: object) -> list[str]:
        return [each.id for each in ada.list_models(**asked)]  # type: ignore[arg-type]

    assert MODEL in models(author="lab") and models(search=MODEL.partition("/")[2]) == [MODEL]
    assert MODEL in models(filter="digits") and MODEL not in models(filter="other")
    assert MODEL in models(filter=["license:mit", "digits"], sort="downloads", full=True, cardData=True)
    assert MODEL in models(sort="created_at", expand=["tags", "downloads"], gated=False)
    assert MODEL in models(pipeline_tag="image-classification")
    assert len(models(limit=1)) == 1
    assert DATASET in [each.id for each in ada.list_datasets(author="lab")]
    assert DATASET not in [each.id for each in nobody.list_datasets(author="lab")]
    assert list(ada.list_spaces(author="lab")) == []


@check()
def tags_are_listed_by_type() -> None:
    assert "license:mit" in str(ada.get_model_tags()) or ask("GET", "/api/models-tags-by-type")["license"]
    assert isinstance(ada.get_dataset_tags(), dict)


@check()
def people_and_organisations_are_described() -> None:
    assert ada.get_user_overview("ben").username == "ben"
    assert ada.get_organization_overview("lab").name == "lab"
    assert {"ada", "ben"} <= {each.username for each in ada.list_organization_members("lab")}


@check()
def what_one_stores_is_listed() -> None:
    if not hasattr(ada, "list_user_repos"):
        assert isinstance(ask("GET", "/api/settings/repositories"), list)
        return
    ada.create_repo("ada/mine", exist_ok=True)
    assert "ada/mine" in [each.id for each in ada.list_user_repos()]
    stored = {each.id: each for each in ada.list_user_repos("lab")}
    assert stored[MODEL].storage > 3 << 20 and stored[MODEL].type == "model"
