"""Logistic regression and a small decision tree as modules of torch, with what they weigh in words.

Both learn from a `Table` of arrays and answer with logits of classes, so that a task's own `evaluate`
can measure them as it measures its network.

Legend: N examples, D features, C classes.

Not covered: regression; trees on anything but rows of a table.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ayni.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    import torch

NUM_COEFFICIENTS = 8
MAX_NAMED_ANSWERS = 12
# Eight leaves fit on a screen, and need no more than three questions each.
TREE_DEPTH = 3
MIN_LEAF_EXAMPLES = 5
# Cost-complexity pruning: a question that tells this little apart is not asked.
PRUNING = 0.005
# Logit of a class that the training split does not have.
NEVER = -1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """How much one feature (or word) speaks for one answer in a linear model."""

    answer: str
    feature: str
    weight: float
    """Change of the answer's log-odds by one unit; of rows one standard deviation. Below 0 it speaks
    against the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Examples to learn from. Names that do not fit in number are left out."""

    inputs: "np.ndarray[Any, Any]"
    """Float64 [N, ...]."""
    labels: "np.ndarray[Any, Any]"
    """Class numbers [N]."""
    class_names: Sequence[str] = ()
    feature_names: Sequence[str] = ()

    @property
    def is_rows(self) -> bool:
        """Whether an example is one row of numbers."""
        shape = self.inputs.shape[1:]
        return bool(shape) and max(shape) == self.inputs[0].size

    def class_name(self, number: int) -> str:
        """What a class is called; its number when it has no name."""
        return self.class_names[number] if 0 <= number < len(self.class_names) else str(number)

    @property
    def columns(self) -> list[str]:
        """The names of the D features."""
        num_features = self.inputs[0].size
        if len(self.feature_names) == num_features:
            return list(self.feature_names)
        return [f"feature {number}" for number in range(num_features)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleModel:
    """A fitted model and how it may be read."""

    module: "torch.nn.Module"
    """From raw inputs [N, ...] to logits [N, C]."""
    settings: str
    remark: str = ""
    """A sentence with a blank before it; empty when there is nothing to say."""
    coefficients: Sequence[Coefficient] = ()
    rules: str = ""
    weights: "np.ndarray[Any, Any] | None" = None
    """[C, ...] in the shape of an input that is no row; of two classes [1, ...], those of the second."""
    weight_names: Sequence[str] = ()


def fit_logistic_regression(table: Table, seed: int) -> SimpleModel:
    """Multinomial logistic regression with scikit-learn's own penalty (C = 1) on standardised inputs.

    `seed` changes nothing: the problem is convex.

    Raises:
        MissingExtraError: scikit-learn is absent.
        ValueError: the examples have one class only, or are not finite.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError(extra="explain", package="scikit-learn") from error
    shift, scale = _standardisation(table.inputs)
    regression = LogisticRegression(tol=1e-3, max_iter=300)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        regression.fit((_flat(table.inputs) - shift) / scale, table.labels)
    is_late = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    # Of two classes there is one row of weights: those for the second.
    classes = regression.classes_ if len(regression.coef_) > 1 else regression.classes_[1:]
    names = [table.class_name(int(number)) for number in classes]
    return SimpleModel(
        module=_linear_module(regression, shift, scale),
        settings="C = 1",
        remark=" It did not converge in 300 iterations." if is_late else "",
        coefficients=_coefficients(names, table.columns, regression.coef_) if table.is_rows else (),
        weights=None if table.is_rows else regression.coef_.reshape(-1, *table.inputs.shape[1:]),
        weight_names=names,
    )


def fit_decision_tree(table: Table, seed: int) -> SimpleModel:
    """A tree of at most three questions, by scikit-learn (CART, Breiman et al. 1984).

    Args:
        table: rows.
        seed: decides between questions that are equally good.

    Raises:
        MissingExtraError: scikit-learn is absent.
        ValueError: the examples are not finite.
    """
    try:
        from sklearn.tree import DecisionTreeClassifier, export_text
    except ImportError as error:
        raise MissingExtraError(extra="explain", package="scikit-learn") from error
    tree = DecisionTreeClassifier(
        max_depth=TREE_DEPTH, min_samples_leaf=MIN_LEAF_EXAMPLES, ccp_alpha=PRUNING, random_state=seed
    )
    tree.fit(_flat(table.inputs), table.labels)
    return SimpleModel(
        module=_tree_module(tree),
        settings=f"at most {TREE_DEPTH} questions, {MIN_LEAF_EXAMPLES} examples in a leaf",
        rules=export_text(
            tree,
            feature_names=table.columns,
            class_names=[table.class_name(int(number)) for number in tree.classes_],
            decimals=3,
        ).rstrip(),
    )


def strongest(answer: str, features: Sequence[str], weights: Sequence[float]) -> list[Coefficient]:
    """The largest coefficients of one answer by size, the largest first; none that is 0."""
    order = sorted(range(len(weights)), key=lambda place: -abs(weights[place]))[:NUM_COEFFICIENTS]
    return [
        Coefficient(answer=answer, feature=features[place], weight=float(weights[place]))
        for place in order
        if weights[place]
    ]


def on_arrays(module: "torch.nn.Module") -> "Callable[[Any], Any]":
    """The same model from numpy arrays to numpy arrays, as tasks of Keras call theirs."""
    import torch

    return lambda inputs: module(torch.as_tensor(inputs)).detach().numpy()


def _coefficients(names: Sequence[str], columns: Sequence[str], weights_CD: Any) -> Sequence[Coefficient]:
    return tuple(
        each
        for name, weights in list(zip(names, weights_CD.tolist(), strict=True))[:MAX_NAMED_ANSWERS]
        for each in strongest(name, columns, weights)
    )


def _flat(inputs: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    return inputs.reshape(len(inputs), -1)


def _standardisation(inputs: "np.ndarray[Any, Any]") -> "tuple[Any, Any]":
    """Shift and scale [D] of each feature of a table; of images one scale for all, to spare rare pixels."""
    import numpy as np

    flat = _flat(inputs)
    if inputs.ndim > 2:
        return np.zeros(flat.shape[1]), np.full(flat.shape[1], np.abs(flat).max() or 1.0)
    deviation = flat.std(axis=0)
    return flat.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def _linear_module(regression: Any, shift: Any, scale: Any) -> "torch.nn.Module":
    """The same model as a torch module from raw inputs to logits, for the task's own `evaluate`.

    Logits of two classes are (0, w x + b). Classes that the training split lacks get NEVER.
    """
    import numpy as np
    import torch

    weights, biases = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:
        weights, biases = np.vstack([0 * weights, weights]), np.array([0.0, biases[0]])
    num_classes = int(regression.classes_.max()) + 1
    linear = torch.nn.Linear(weights.shape[1], num_classes, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.fill_(NEVER)
        linear.weight[regression.classes_] = torch.from_numpy(weights / scale)
        linear.bias[regression.classes_] = torch.from_numpy(biases - (weights / scale) @ shift)
    return torch.nn.Sequential(torch.nn.Flatten(), linear.float()).eval()


def _tree_module(tree: Any) -> "torch.nn.Module":
    """The tree as a torch module: logits are the logarithms of the shares in the leaf."""
    import numpy as np
    import torch

    num_classes = int(tree.classes_.max()) + 1

    class Leaves(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            shares = tree.predict_proba(inputs.flatten(1).double().numpy())
            logits = np.full((len(shares), num_classes), NEVER)
            logits[:, tree.classes_] = np.where(shares > 0, np.log(np.maximum(shares, 1e-12)), NEVER)
            return torch.from_numpy(logits).float()

    return Leaves().eval()
