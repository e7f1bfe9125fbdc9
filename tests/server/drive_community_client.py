"""Drive discussions, pull requests and likes of a hub with the huggingface_hub of this environment.

Runs alone, so that it can run in an environment that has the client and nothing of ours. Prints a line for
each check and exits with the number of those that failed.

Usage: python drive_community_client.py BASE_URL FOLDER (tokens of tests/server/hub_app.py)
"""

# ruff: noqa: E402 - the client reads its environment when it is imported
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

ENDPOINT, FOLDER = sys.argv[1], Path(sys.argv[2])
os.environ |= {
    "HF_ENDPOINT": ENDPOINT,
    "HF_HOME": str(FOLDER / "home"),
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.utils import HfHubHTTPError

api, ben, nobody = HfApi(token="hf_ada"), HfApi(token="hf_ben"), HfApi(token=False)
VERSION = huggingface_hub.__version__.replace(".", "-")
MODEL, DATASET = f"ada/model-{VERSION}", f"ada/data-{VERSION}"
checks: list[Callable[[], None]] = []


def check(function: Callable[[], None]) -> Callable[[], None]:
    checks.append(function)
    return function


def refused(call: Callable[[], object], status: int) -> str:
    try:
        call()
    except HfHubHTTPError as error:
        assert error.response.status_code == status, f"{error.response.status_code}: {error}"
        return str(error)
    raise AssertionError("was not refused")


@check
def a_discussion_has_all_its_events() -> None:
    api.create_repo(MODEL)
    made = ben.create_discussion(MODEL, title="Why?", description="I *wonder*.")
    assert (made.num, made.status, made.author, made.is_pull_request) == (1, "open", "ben", False)
    assert made.events[0].content == "I *wonder*." and "<em>" in made.events[0].rendered
    assert made.diff is None and made.conflicting_files is None
    comment = api.comment_discussion(MODEL, 1, comment="Because.")
    assert comment.content == "Because." and comment.author == "ada" and not comment.edited
    edited = api.edit_discussion_comment(MODEL, 1, comment.id, new_content="Why not?")
    assert edited.edited and edited.number_of_edits == 1 and edited.last_edited_by == "ada"
    assert edited.last_edited_at >= edited.created_at and edited.edit_history[0]["raw"] == "Because."
    renamed = ben.rename_discussion(MODEL, 1, new_title="Still: why?")
    assert (renamed.old_title, renamed.new_title) == ("Why?", "Still: why?")
    closed = ben.change_discussion_status(MODEL, 1, new_status="closed", comment="Thanks.")
    assert closed.new_status == "closed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hidden = api.hide_discussion_comment(MODEL, 1, comment.id)
    assert hidden.hidden and hidden.content == ""
    found = nobody.get_discussion_details(MODEL, 1)
    assert (found.title, found.status, len(found.events)) == ("Still: why?", "closed", 5)


@check
def what_is_not_ones_own_is_refused() -> None:
    comment = api.get_discussion_details(MODEL, 1).events[0].id
    refused(lambda: api.edit_discussion_comment(MODEL, 1, comment, new_content="x"), 403)
    api.create_discussion(MODEL, title="Mine")
    refused(lambda: ben.rename_discussion(MODEL, 2, new_title="x"), 403)
    refused(lambda: ben.change_discussion_status(MODEL, 2, new_status="closed"), 403)
    refused(lambda: nobody.comment_discussion(MODEL, 2, comment="x"), 401)
    refused(lambda: api.get_discussion_details(MODEL, 99), 404)


@check
def an_opened_pull_request_is_a_draft_that_takes_commits() -> None:
    made = ben.create_pull_request(MODEL, title="Better")
    assert (made.status, made.git_reference) == ("draft", f"refs/pr/{made.num}")
    assert made.target_branch == "refs/heads/main" and made.conflicting_files == []
    ben.upload_file(path_or_fileobj=b"1\n", path_in_repo="a.txt", repo_id=MODEL, revision=made.git_reference)
    assert ben.change_discussion_status(MODEL, made.num, new_status="open").new_status == "open"
    found = ben.get_discussion_details(MODEL, made.num)
    assert "+1" in (found.diff or "") and found.events[1].summary == "Upload a.txt with huggingface_hub"
    assert found.events[1].oid == ben.repo_info(MODEL, revision=made.git_reference).sha
    refused(lambda: ben.merge_pull_request(MODEL, made.num), 403)
    api.merge_pull_request(MODEL, made.num, comment="Thank you.")
    merged = api.get_discussion_details(MODEL, made.num)
    assert merged.status == "merged" and merged.merge_commit_oid == api.repo_info(MODEL).sha
    assert merged.events[-1].new_status == "merged" and api.file_exists(MODEL, "a.txt")


@check
def a_commit_opens_a_pull_request() -> None:
    def swap() -> huggingface_hub.CommitInfo:
        operations = [CommitOperationAdd("b.txt", b"2\n"), CommitOperationDelete("a.txt")]
        return ben.create_commit(MODEL, operations, commit_message="Swap", create_pr=True)

    made = swap()
    assert made.pr_num is not None and made.pr_revision == f"refs/pr/{made.pr_num}"
    again = swap()
    assert (again.oid, again.pr_url) == (made.oid, made.pr_url)
    api.upload_file(path_or_fileobj=b"3\n", path_in_repo="a.txt", repo_id=MODEL)
    assert ben.get_discussion_details(MODEL, made.pr_num).conflicting_files == ["a.txt"]
    assert "a.txt" in refused(lambda: api.merge_pull_request(MODEL, made.pr_num), 409)
    refs = api.list_repo_refs(MODEL, include_pull_requests=True)
    assert made.pr_revision in [each.ref for each in refs.pull_requests or []]


@check
def a_folder_with_large_files_becomes_a_pull_request() -> None:
    folder = FOLDER / "folder"
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    content = os.urandom(2 << 20)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "deep" / "x.txt").write_text("x")
    made = ben.upload_folder(repo_id=MODEL, folder_path=folder, create_pr=True)
    assert made.pr_num is not None
    assert "oid sha256:" in (ben.get_discussion_details(MODEL, made.pr_num).diff or "")
    api.merge_pull_request(MODEL, made.pr_num)
    found = api.hf_hub_download(MODEL, "model.safetensors")
    assert Path(found).read_bytes() == content


@check
def a_pull_request_begins_at_its_parent() -> None:
    newest, older, *_ = api.list_repo_commits(MODEL)
    made = ben.create_commit(
        MODEL,
        [CommitOperationAdd("p.txt", b"p")],
        commit_message="On the older one",
        create_pr=True,
        parent_commit=older.commit_id,
    )
    assert ben.list_repo_commits(MODEL, revision=made.pr_revision)[1].commit_id == older.commit_id
    api.merge_pull_request(MODEL, made.pr_num or 0)
    assert api.list_repo_commits(MODEL)[1].commit_id == newest.commit_id


@check
def listings_are_filtered() -> None:
    def listed(**asked: object) -> list[int]:
        return [each.num for each in nobody.get_repo_discussions(MODEL, **asked)]

    everything = listed()
    assert everything == sorted(everything, reverse=True) and everything[-1] == 1
    assert listed(discussion_type="discussion") == [2, 1]
    assert listed(discussion_type="discussion", discussion_status="open") == [2]
    assert listed(author="ada") == [2] and 3 in listed(discussion_type="pull_request")


@check
def datasets_have_discussions_too_and_private_ones_are_hidden() -> None:
    api.create_repo(DATASET, repo_type="dataset", private=True)
    made = api.create_discussion(DATASET, title="Rows?", repo_type="dataset")
    assert made.repo_type == "dataset" and made.url.endswith(f"/datasets/{DATASET}/discussions/1")
    refused(lambda: ben.get_discussion_details(DATASET, 1, repo_type="dataset"), 404)
    refused(lambda: list(nobody.get_repo_discussions(DATASET, repo_type="dataset")), 401)


@check
def results_of_models_make_the_leaderboard_of_a_data_set() -> None:
    bench = f"ada/bench-{VERSION}"
    api.create_repo(bench, repo_type="dataset")
    text = f"- dataset: {{id: {bench}, task_id: default}}\n  value: 0.5\n  notes: tools\n".encode()
    api.upload_file(path_or_fileobj=text, path_in_repo=".eval_results/b.yaml", repo_id=MODEL)
    if hasattr(api, "get_dataset_leaderboard"):
        [entry] = nobody.get_dataset_leaderboard(bench)
        assert (entry.rank, entry.model_id, entry.value, entry.verified) == (1, MODEL, 0.5, False)
        assert entry.author.username == "ada" and entry.notes == "tools"
        [found] = api.model_info(MODEL, expand=["evalResults"]).eval_results
        assert (found.dataset_id, found.value) == (bench, 0.5)


@check
def likes_are_listed_and_taken_back() -> None:
    like = f"{ENDPOINT}/api/models/{MODEL}/like"
    huggingface_hub.utils.get_session().post(like, headers={"Authorization": "Bearer hf_ben"})
    assert [each.username for each in api.list_repo_likers(MODEL)] == ["ben"]
    assert MODEL in api.list_liked_repos("ben").models and api.model_info(MODEL).likes == 1
    ben.unlike(MODEL)
    assert list(api.list_repo_likers(MODEL)) == [] and api.model_info(MODEL).likes == 0


def main() -> int:
    num_failed = 0
    for function in checks:
        try:
            function()
        except Exception:
            num_failed += 1
            print(f"failed  {function.__name__}\n{traceback.format_exc(limit=-5)}")
        else:
            print(f"ok      {function.__name__}")
    print(f"huggingface_hub {huggingface_hub.__version__}: {num_failed} of {len(checks)} failed")
    return num_failed


if __name__ == "__main__":
    sys.exit(main())
