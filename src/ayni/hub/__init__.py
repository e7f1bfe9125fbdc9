"""The hub: versioned repositories of models, data and code, numbered as on the Hugging Face Hub.

    tables, repository, catalogue     repositories are numbers that names point to
    git_objects, tree_changes,        revisions with the ids that git gives; a commit is one transaction
    revisions, commits, purge
    content, uploads, commit_lines    bytes on their way in, visible only when they are what was announced
    callers, permissions, tickets     who asks, what for, and links that need no other credential
    repositories                      publishes in process and keeps plain folders
    card, licences, card_index        what a model says about itself
    loading, prediction               what was published, used

Decisions and rows are here, within transactions of the caller's; `server` puts them behind HTTP. The hub
stores bytes and knows nothing of training.

Not covered: garbage collection.
"""
