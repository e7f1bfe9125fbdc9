"""Access on request, logging in on another device, discussions, pull requests, likes and leaderboards."""

import threading
from pathlib import Path
from typing import Any

from benchmarks.hub_client.session import (
    ENDPOINT,
    FOLDER,
    GATED,
    MODE,
    MODEL,
    TALK,
    TOKENS,
    VERSION,
    ada,
    ask,
    ben,
    check,
    eve,
    refused,
)
from huggingface_hub import CommitOperationAdd, hf_hub_download
from huggingface_hub.utils import GatedRepoError, HfHubHTTPError, get_session


@check()
def access_is_asked_for_and_given() -> None:
    ada.create_repo(GATED)
    ada.upload_file(path_or_fileobj=b"kept", path_in_repo="kept.txt", repo_id=GATED)
    ada.update_repo_settings(GATED, gated="manual")
    refused(GatedRepoError, lambda: hf_hub_download(GATED, "kept.txt", token=TOKENS["eve"]), 403)

    # The one thing that is asked for in a browser elsewhere.
    ask("POST", f"/api/models/{GATED}/user-access-request", token="eve", json={})
    assert [each.username for each in ada.list_pending_access_requests(GATED)] == ["eve"]
    ada.accept_access_request(GATED, "eve")
    assert [each.username for each in ada.list_accepted_access_requests(GATED)] == ["eve"]
    assert Path(hf_hub_download(GATED, "kept.txt", token=TOKENS["eve"])).read_bytes() == b"kept"

    ada.reject_access_request(GATED, "eve", rejection_reason="over")
    assert [each.username for each in ada.list_rejected_access_requests(GATED)] == ["eve"]
    refused(GatedRepoError, lambda: eve.auth_check(GATED), 403)
    ada.cancel_access_request(GATED, "eve")
    ada.grant_access(GATED, "root")
    assert [each.username for each in ada.list_accepted_access_requests(GATED)] == ["root"]
    refused(HfHubHTTPError, lambda: list(eve.list_pending_access_requests(GATED)), 403)


@check(needs="device logins")
def another_device_is_let_in() -> None:
    try:
        from huggingface_hub.utils._oauth_device import (
            poll_device_token,
            refresh_access_token,
            request_device_code,
        )
    except ImportError:
        return  # Clients before 2 ask for a token to be pasted.
    asked = request_device_code()
    asked["interval"] = 1

    def let_in() -> None:
        # What a person does on the page that the client names.
        typed = {"user_code": asked["user_code"], "token": TOKENS["ada"]}
        get_session().post(asked["verification_uri"], data=typed).raise_for_status()

    timer = threading.Timer(1.5, let_in)
    timer.start()
    found = poll_device_token(asked)
    timer.join()

    def user_of(token: str) -> str:
        headers = {"Authorization": f"Bearer {token}"}
        name: str = get_session().get(f"{ENDPOINT}/api/whoami-v2", headers=headers).json()["name"]
        return name

    assert user_of(found["access_token"]) == "ada"
    renewed = refresh_access_token(found["refresh_token"])
    assert user_of(renewed["access_token"]) == "ada"
    refused(Exception, lambda: refresh_access_token(found["refresh_token"]))


@check(needs="discussions")
def people_discuss() -> None:
    ada.create_repo(TALK)
    made = ben.create_discussion(TALK, "What is this?", description="I wonder.")
    ada.comment_discussion(TALK, made.num, "A model.")
    ben.comment_discussion(TALK, made.num, "Of whta?")
    said = ada.get_discussion_details(TALK, made.num)
    wrong: Any = said.events[-1]
    assert said.title == "What is this?" and wrong.content == "Of whta?"
    ben.edit_discussion_comment(TALK, made.num, wrong.id, "Of what?")
    ada.hide_discussion_comment(TALK, made.num, wrong.id)
    ben.rename_discussion(TALK, made.num, "What is this model?")
    ada.change_discussion_status(TALK, made.num, "closed", comment="Answered.")
    said = ada.get_discussion_details(TALK, made.num)
    assert said.status == "closed" and said.title == "What is this model?"
    listed = list(ada.get_repo_discussions(TALK))
    assert [(each.num, each.author) for each in listed] == [(made.num, "ben")]
    assert not list(ada.get_repo_discussions(TALK, discussion_status="open"))


@check(needs="discussions")
def a_change_is_proposed_and_merged() -> None:
    operations = [CommitOperationAdd("proposed.txt", b"mine")]
    proposed = ben.create_commit(TALK, operations, commit_message="Propose", create_pr=True)
    assert proposed.pr_num is not None and proposed.pr_revision == f"refs/pr/{proposed.pr_num}"
    ben.upload_file(
        path_or_fileobj=b"more", path_in_repo="more.txt", repo_id=TALK, revision=proposed.pr_revision
    )
    said = ada.get_discussion_details(TALK, proposed.pr_num)
    assert said.is_pull_request and "proposed.txt" in str(said.diff)
    assert not ada.file_exists(TALK, "proposed.txt")
    refused(HfHubHTTPError, lambda: ben.merge_pull_request(TALK, int(proposed.pr_num or 0)), 403)
    ada.merge_pull_request(TALK, proposed.pr_num)
    assert ada.file_exists(TALK, "proposed.txt") and ada.file_exists(TALK, "more.txt")
    assert ada.get_discussion_details(TALK, proposed.pr_num).status == "merged"
    refs = ada.list_repo_refs(TALK, include_pull_requests=True)
    assert proposed.pr_revision in [each.ref for each in refs.pull_requests or []]


@check(needs="discussions")
def a_folder_is_proposed() -> None:
    folder = FOLDER / "proposal"
    folder.mkdir()
    (folder / "by-folder.txt").write_text(MODE)
    proposed = ben.upload_folder(repo_id=TALK, folder_path=folder, create_pr=True)
    ada.merge_pull_request(TALK, int(proposed.pr_num or 0))
    assert ada.file_exists(TALK, "by-folder.txt")
    empty = ben.create_pull_request(TALK, "A draft")
    assert empty.is_pull_request and empty.status == "draft"


@check(needs="likes")
def repositories_are_liked() -> None:
    ask("POST", f"/api/models/{MODEL}/like", token="ben")
    assert [each.username for each in ada.list_repo_likers(MODEL)] == ["ben"]
    assert ada.model_info(MODEL).likes == 1
    assert MODEL in ben.list_liked_repos("ben").models
    ben.unlike(MODEL)
    assert not list(ada.list_repo_likers(MODEL))


EVAL = "- dataset:\n    id: {board}\n    task_id: main\n  value: 0.9\n  date: 2026-01-01\n"


@check(needs="leaderboards")
def results_are_ranked() -> None:
    board = f"lab/board-{VERSION}-{MODE}"
    ada.create_repo(board, repo_type="dataset")
    ada.upload_file(
        path_or_fileobj=b"name: Board\ntasks:\n  - id: main\n",
        path_in_repo="eval.yaml",
        repo_id=board,
        repo_type="dataset",
    )
    ada.upload_file(
        path_or_fileobj=EVAL.format(board=board).encode(),
        path_in_repo=".eval_results/board.yaml",
        repo_id=MODEL,
    )
    if hasattr(ada, "get_dataset_leaderboard"):
        entries = [each.model_id for each in ada.get_dataset_leaderboard(board)]
    else:
        entries = [each["modelId"] for each in ask("GET", f"/api/datasets/{board}/leaderboard")]
    assert entries == [MODEL]
