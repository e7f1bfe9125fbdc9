from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ayni.train.initial import InitialWeightsError, load_initial


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.norm = nn.BatchNorm1d(4)


class Classifier(nn.Module):
    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.head = nn.Linear(4, num_classes)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embedding.weight


def saved(model: nn.Module, folder: Path) -> Path:
    path = folder / "model.safetensors"
    save_file({name: value.clone() for name, value in model.state_dict().items()}, path)
    return path


def test_the_same_model_is_taken_whole_without_a_word(tmp_path: Path) -> None:
    trained, model = Classifier(), Classifier()

    notices = load_initial(model, saved(trained, tmp_path))

    assert notices == []
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_head_for_other_classes_is_built_anew_and_that_is_said(tmp_path: Path) -> None:
    trained, model = Classifier(num_classes=3), Classifier(num_classes=7)
    head = model.head.weight.clone()

    notices = load_initial(model, saved(trained, tmp_path))

    assert notices == [
        "init_from has another shape for head.weight (here (7, 4), there (3, 4)), "
        "head.bias (here (7,), there (3,)): built anew"
    ]
    assert torch.equal(model.encoder.embedding.weight, trained.encoder.embedding.weight)
    assert torch.equal(model.head.weight, head)


@pytest.mark.parametrize("is_file_inner", [True, False])
def test_one_prefix_more_or_less_does_not_matter(tmp_path: Path, is_file_inner: bool) -> None:
    inner, outer = Encoder(), Classifier()
    source, target = (inner, outer) if is_file_inner else (outer, inner)

    notices = load_initial(target, saved(source, tmp_path))

    assert torch.equal(inner.embedding.weight, outer.encoder.embedding.weight)
    side = (
        "has nothing for head.weight" if is_file_inner else "has head.bias, head.weight, which the model does"
    )
    assert side in notices[0]
    assert len(notices) == 1


def test_a_tied_weight_that_was_saved_once_is_not_missing(tmp_path: Path) -> None:
    trained, model = Tied(), Tied()
    path = tmp_path / "model.safetensors"
    save_file({"embedding.weight": trained.embedding.weight.detach()}, path)

    assert load_initial(model, path) == []
    assert torch.equal(model.head.weight, trained.head.weight)


def test_half_precision_is_widened(tmp_path: Path) -> None:
    trained, model = Classifier().half(), Classifier()

    load_initial(model, saved(trained, tmp_path))

    assert torch.equal(model.head.weight, trained.head.weight.float())


def test_a_file_of_which_nothing_fits_is_refused_with_names_of_both(tmp_path: Path) -> None:
    with pytest.raises(InitialWeightsError, match=r"has weight \(2, 9\).*model's encoder\.embedding\.weight"):
        load_initial(Classifier(), saved(nn.Linear(9, 2, bias=False), tmp_path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "does not exist"), (b"\x80\x04pickle", "is not a safetensors"), (b"", "is not a safetensors")],
)
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "model.pt"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(InitialWeightsError, match=reason):
        load_initial(Classifier(), path)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    trained = Classifier()
    with torch.no_grad():
        trained.head.bias[1] = float("nan")

    with pytest.raises(InitialWeightsError, match=r"values in head\.bias that are not finite"):
        load_initial(Classifier(), saved(trained, tmp_path))
