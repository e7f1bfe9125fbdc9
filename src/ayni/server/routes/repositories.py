"""Make, delete, rename, change and duplicate repositories, and ask whether one may be read or written."""

from typing import Literal

import pydantic
from starlette.responses import JSONResponse, Response

from ayni.errors import UserError
from ayni.hub import catalogue, duplication
from ayni.hub.first_commit import store_first_file, write_first_commit
from ayni.hub.repository import Gated, Kind, NameTakenError, Repository, RepositoryGoneError, Visibility
from ayni.server.call import Call, Text
from ayni.server.descriptions import page_path
from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route


class NewRepository(pydantic.BaseModel):
    """What is made. Older clients say `private`, newer ones `visibility`."""

    name: Text
    organization: Text | None = None
    type: Kind | None = None
    private: bool | None = None
    visibility: Visibility | None = None

    @property
    def chosen_visibility(self) -> Visibility:
        """Public where nothing is said."""
        return self.visibility or ("private" if self.private else "public")


class NamedRepository(pydantic.BaseModel):
    """What is deleted."""

    name: Text
    organization: Text | None = None
    type: Kind | None = None


class Move(pydantic.BaseModel):
    """What gets which name."""

    fromRepo: Text  # noqa: N815 - the clients' words
    toRepo: Text  # noqa: N815
    type: Kind | None = None


class Settings(pydantic.BaseModel):
    """What changes; None stays."""

    gated: Literal["auto", "manual", False] | None = None
    private: bool | None = None
    visibility: Visibility | None = None


class Duplicate(pydantic.BaseModel):
    """Where the copy goes."""

    repository: Text
    visibility: Visibility | None = None
    private: bool | None = None


def create(call: Call) -> Response:
    """`POST /api/repos/create`: a repository with its first commit."""
    asked = call.body(NewRepository)
    namespace = asked.organization or call.caller.user or ""
    call.require("repository.create", namespace=namespace)
    kind, name, now = asked.type or "model", f"{namespace}/{asked.name}", call.hub.now()
    # Its bytes first: a commit never names what is not stored.
    first_file = store_first_file(call.hub.content)
    with call.hub.database.transaction() as connection:
        try:
            made = catalogue.create(connection, kind, name, visibility=asked.chosen_visibility, when=now)
        except (NameTakenError, RepositoryGoneError) as error:
            raise _taken(call, kind, name, error) from error
        call.note(connection, "repository.create", made, visibility=made.visibility)
        hooks = call.hub.all_commit_hooks
        write_first_commit(connection, made, first_file, author=call.author, when=now, hooks=hooks)
    return JSONResponse(_address(call, made))


def delete(call: Call) -> Response:
    """`DELETE /api/repos/delete`."""
    asked = call.body(NamedRepository)
    name = f"{asked.organization or call.caller.user}/{asked.name}"
    with call.hub.database.transaction() as connection:
        repository = call.find(connection, asked.type or "model", name)
        call.require("repository.delete", repository)
        catalogue.delete(connection, repository, when=call.hub.now())
        call.note(connection, "repository.delete", repository)
    return JSONResponse({})


def move(call: Call) -> Response:
    """`POST /api/repos/move`: the old name leads to the new one for ever."""
    asked = call.body(Move)
    kind = asked.type or "model"
    with call.hub.database.transaction() as connection:
        repository = call.find(connection, kind, asked.fromRepo)
        call.require("repository.move", repository)
        call.require("repository.create", namespace=asked.toRepo.partition("/")[0])
        try:
            moved = catalogue.move(connection, repository, asked.toRepo, when=call.hub.now())
        except (NameTakenError, RepositoryGoneError) as error:
            raise _taken(call, kind, asked.toRepo, error) from error
        call.hub.check_upload(connection, call.caller, moved, 0)
        call.note(connection, "repository.move", repository, to=moved.name)
    return JSONResponse(_address(call, moved))


def change_settings(call: Call) -> Response:
    """`PUT .../settings`."""
    asked = call.body(Settings)
    visibility = asked.visibility
    if visibility is None and asked.private is not None:
        visibility = "private" if asked.private else "public"
    gated: Gated | None = "no" if asked.gated is False else asked.gated
    with call.hub.database.transaction() as connection:
        changed = catalogue.change(connection, call.repository, visibility=visibility, gated=gated)
        call.note(
            connection, "repository.settings", changed, visibility=changed.visibility, gated=changed.gated
        )
    return JSONResponse(
        {
            "private": changed.is_private,
            "visibility": changed.visibility,
            "gated": False if changed.gated == "no" else changed.gated,
        }
    )


def duplicate(call: Call) -> Response:
    """`POST .../duplicate`: the caller may read the source and make something at the target."""
    asked = call.body(Duplicate)
    call.require("repository.create", namespace=asked.repository.partition("/")[0])
    source = call.repository
    said = asked.visibility or (None if asked.private is None else "private" if asked.private else "public")
    with call.hub.database.transaction() as connection:
        try:
            made = duplication.duplicate(
                connection,
                source,
                asked.repository,
                # A copy of what is private stays private until somebody says otherwise.
                visibility=said or source.visibility,
                when=call.hub.now(),
            )
        except (NameTakenError, RepositoryGoneError) as error:
            raise _taken(call, source.kind, asked.repository, error) from error
        call.hub.check_upload(connection, call.caller, made, 0)
        call.note(connection, "repository.duplicate", source, to=made.name, visibility=made.visibility)
    return JSONResponse({**_address(call, made), "filesCopyPending": False})


def answer_yes(_call: Call) -> Response:
    """`GET .../auth-check`: whoever gets here may."""
    return JSONResponse({})


def validate_card(call: Call) -> Response:
    """`POST /api/validate-yaml`: what is wrong with a README, before it is committed."""
    asked = call.body(CardText)
    errors, warnings = call.hub.check_card(asked.content, asked.repoType or "model")
    said = {
        "errors": [{"message": each} for each in errors],
        "warnings": [{"message": each} for each in warnings],
    }
    return JSONResponse(said, 400 if errors else 200)


class CardText(pydantic.BaseModel):
    """A README and what it is of."""

    content: str
    repoType: str | None = None  # noqa: N815


def _taken(call: Call, kind: Kind, name: str, error: UserError) -> RefusedRequestError:
    # Clients that are content with what is there take its address from here.
    return RefusedRequestError(409, str(error), more={"url": call.url(page_path(kind, name))})


def _address(call: Call, repository: Repository) -> dict[str, str]:
    return {
        "url": call.url(page_path(repository.kind, repository.name)),
        "name": repository.name,
        "id": str(repository.id),
    }


_API = "/api/{kind}/{repo}"

ROUTES = (
    Route(
        method="POST", pattern="/api/repos/create", action="repository.create", subject="body", handler=create
    ),
    Route(
        method="DELETE",
        pattern="/api/repos/delete",
        action="repository.delete",
        subject="body",
        handler=delete,
    ),
    Route(method="POST", pattern="/api/repos/move", action="repository.move", subject="body", handler=move),
    Route(
        method="POST", pattern="/api/validate-yaml", action="public", subject="none", handler=validate_card
    ),
    Route(method="PUT", pattern=f"{_API}/settings", action="repository.settings", handler=change_settings),
    Route(method="POST", pattern=f"{_API}/duplicate", action="content.read", handler=duplicate),
    Route(method="GET", pattern=f"{_API}/auth-check", action="content.read", handler=answer_yes),
    Route(method="GET", pattern=f"{_API}/auth-check/write", action="content.write", handler=answer_yes),
)
