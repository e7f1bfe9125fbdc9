"""Who one is, and repositories from their making to their end; the last check of a walk is here as well."""

from pathlib import Path

from benchmarks.hub_client.session import (
    COPY,
    DATASET,
    MODEL,
    MOVED,
    TOKENS,
    ada,
    ask,
    ben,
    check,
    eve,
    nobody,
    refused,
)
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download
from huggingface_hub.utils import HfHubHTTPError, RepositoryNotFoundError

CARD = "---\nlicense: mit\ntags: [digits]\npipeline_tag: image-classification\n---\n# Digits\n"


@check()
def the_client_knows_who_it_is() -> None:
    found = ada.whoami()
    assert found["name"] == "ada" and found["auth"]["accessToken"]["role"] == "write"
    assert [(each["name"], each["roleInOrg"]) for each in found["orgs"]] == [("lab", "admin")]
    refused(Exception, lambda: HfApi(token="hf_nobody").whoami())


@check(transfers=True)
def repositories_are_made_once() -> None:
    assert ada.create_repo(MODEL).repo_id == MODEL
    refused(HfHubHTTPError, lambda: ada.create_repo(MODEL), 409)
    assert ada.create_repo(MODEL, exist_ok=True).repo_id == MODEL
    ada.create_repo(DATASET, repo_type="dataset", private=True, exist_ok=True)
    refused(HfHubHTTPError, lambda: ada.create_repo("ben/x"), 403)
    refused(HfHubHTTPError, lambda: ben.create_repo("lab/of-a-reader"), 403)


@check()
def rights_are_asked_for() -> None:
    ada.auth_check(MODEL)
    ask("GET", f"/api/models/{MODEL}/auth-check/write")
    refused(RepositoryNotFoundError, lambda: nobody.auth_check(DATASET, repo_type="dataset"))
    refused(RepositoryNotFoundError, lambda: eve.auth_check(DATASET, repo_type="dataset"), 404)
    ben.auth_check(DATASET, repo_type="dataset")


@check()
def a_broken_card_is_refused() -> None:
    def commit(card: str) -> object:
        operations = [CommitOperationAdd("README.md", card.encode())]
        return ada.create_commit(DATASET, operations, commit_message="x", repo_type="dataset")

    refused(ValueError, lambda: commit("---\na: [\n---\n"))
    commit("---\nlicense: mit\ntask_categories: [text-classification]\n---\n")


def last_checks() -> None:
    """Checks that change what others look at; entered after them."""
    for function in (
        settings_take_effect,
        an_old_name_leads_to_the_new_one,
        a_history_becomes_one_commit,
        a_repository_is_duplicated,
        what_is_deleted_is_gone_and_its_name_with_it,
    ):
        check()(function)


def settings_take_effect() -> None:
    ada.update_repo_settings(MODEL, private=True)
    assert not nobody.repo_exists(MODEL)
    ada.update_repo_settings(MODEL, private=False, gated="auto")
    assert ada.model_info(MODEL).gated == "auto"
    ada.update_repo_settings(MODEL, gated=False)
    assert nobody.repo_exists(MODEL)


def an_old_name_leads_to_the_new_one() -> None:
    ada.move_repo(MODEL, MOVED)
    assert ada.model_info(MODEL).id == MOVED
    found = hf_hub_download(MODEL, "README.md", token=TOKENS["ada"], force_download=True)
    assert Path(found).read_text() == CARD
    refused(HfHubHTTPError, lambda: ada.create_repo(MODEL), 409)


def a_history_becomes_one_commit() -> None:
    ada.super_squash_history(MOVED)
    assert len(ada.list_repo_commits(MOVED)) == 1 and ada.file_exists(MOVED, "README.md")


def a_repository_is_duplicated() -> None:
    if hasattr(ada, "duplicate_repo"):
        ada.duplicate_repo(MOVED, COPY)
    else:
        ask("POST", f"/api/models/{MOVED}/duplicate", json={"repository": COPY})
    assert ada.file_exists(COPY, "model.safetensors")


def what_is_deleted_is_gone_and_its_name_with_it() -> None:
    ada.delete_repo(DATASET, repo_type="dataset")
    assert not ada.repo_exists(DATASET, repo_type="dataset")
    refused(HfHubHTTPError, lambda: ada.create_repo(DATASET, repo_type="dataset"), 409)
    ada.delete_repo("ada/none", missing_ok=True)
    refused(RepositoryNotFoundError, lambda: ada.delete_repo("ada/none"), 404)
    refused(HfHubHTTPError, lambda: ben.delete_repo(COPY), 403)
