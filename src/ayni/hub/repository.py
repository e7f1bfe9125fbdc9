"""A repository as a value: what it is, what it is called, and who may see it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ayni.errors import UserError

Kind = Literal["model", "dataset", "space"]
Visibility = Literal["public", "private"]
Gated = Literal["no", "auto", "manual"]

KINDS: tuple[Kind, ...] = ("model", "dataset", "space")
API_NAMES: dict[str, Kind] = {"models": "model", "datasets": "dataset", "spaces": "space"}
"""How the paths of the Hugging Face Hub's API name the kinds."""


class RepositoryGoneError(UserError):
    """The name belongs to a repository that was deleted; nobody gets it again."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"{name} was deleted. Names are not given again, so that nobody gets another's files in its "
            "place; choose another name."
        )


class NameTakenError(UserError):
    """A repository, or one that was renamed, has this name already."""

    def __init__(self, name: str, taken_by: str) -> None:
        self.name = name
        self.taken_by = taken_by
        reason = "it is there already" if name == taken_by else f"it leads to {taken_by}"
        super().__init__(f"{name} cannot be made: {reason}. Choose another name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """One repository. `id` never changes; `name` is `namespace/name` as it is spelled now."""

    id: int
    kind: Kind
    name: str
    visibility: Visibility
    gated: Gated
    created_at: datetime
    updated_at: datetime
    num_downloads: int = 0
    num_likes: int = 0

    @property
    def namespace(self) -> str:
        """The user or organisation that owns it."""
        return self.name.partition("/")[0]

    @property
    def is_private(self) -> bool:
        """Whether only its owners see it."""
        return self.visibility == "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A name that a repository had: the one that it has now."""

    repository: Repository
