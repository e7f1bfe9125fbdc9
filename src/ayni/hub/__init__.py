"""The hub: versioned repositories of models, laid out and numbered as on the Hugging Face Hub.

`repositories.py` publishes and finds, `git_objects.py` computes the revision ids as git would, `card.py`
writes the model card and `licences.py` checks it, `loading.py` and `prediction.py` use what was published.
The hub stores bytes and knows nothing of training.

Not covered: the HTTP API, access rules, pull requests and garbage collection.
"""
