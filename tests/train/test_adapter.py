import sys

import pytest
import torch
from torch import nn

from ayni.errors import MissingExtraError
from ayni.train.named_arrays import get_arrays
from ayni.train.strategy_config import AdapterConfig


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 5))
        self.embedding = nn.Embedding(3, 5)
        self.head = nn.Linear(5, 3, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.layers(x))
        return result


def test_without_peft_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from ayni.train.adapter import add_adapter

    monkeypatch.setitem(sys.modules, "peft", None)

    with pytest.raises(MissingExtraError, match=r"ayni\[adapters\]"):
        add_adapter(Small(), AdapterConfig())


@pytest.mark.slow  # importing peft takes seconds
def test_adapters_learn_alone_and_merge_into_the_model_that_build_model_makes() -> None:
    pytest.importorskip("peft")
    from ayni.train.adapter import AdapterError, add_adapter, merge_adapter

    torch.manual_seed(0)
    model, inputs = Small(), torch.randn(6, 4)
    before = model(inputs)
    shapes = {name: value.shape for name, value in model.state_dict().items()}

    adapted = add_adapter(model, AdapterConfig(rank=2, alpha=4.0))

    names = set(get_arrays(adapted))
    assert names == {
        f"layers.{place}.lora_{matrix}.default.weight" for place in (0, 2) for matrix in ("A", "B")
    }
    assert torch.equal(adapted(inputs), before)
    with torch.no_grad():
        adapted.layers[0].lora_B["default"].weight.fill_(0.3)
    trained = adapted(inputs)
    merged = merge_adapter(adapted)
    twin = Small()
    twin.load_state_dict(merged.state_dict(), strict=True)
    assert {name: value.shape for name, value in merged.state_dict().items()} == shapes
    assert torch.allclose(twin(inputs), trained, atol=1e-6)
    assert not torch.allclose(trained, before, atol=1e-3)

    with pytest.raises(AdapterError, match=r"'attention'.*layers\.0, layers\.2, head"):
        add_adapter(Small(), AdapterConfig(targets=("attention",)))
    with pytest.raises(AdapterError, match="'head', whose weight another layer uses"):
        add_adapter(Small(), AdapterConfig(targets=("head",)))
    with pytest.raises(AdapterError, match="no linear layer"):
        add_adapter(nn.Sequential(nn.Conv1d(3, 3, 1)), AdapterConfig())
    assert set(get_arrays(add_adapter(Small(), AdapterConfig(targets=("2",))))) == {
        f"layers.2.lora_{matrix}.default.weight" for matrix in ("A", "B")
    }
