import copy

import numpy as np
import pytest
import torch

from ayni.data.generation.generator_settings import GeneratorSettings
from ayni.data.generation.input_form import InputForm
from ayni.data.generation.neural_generators import (
    ConditionalVae,
    FlowMatching,
    WassersteinGan,
    build_network,
)
from ayni.data.records import Records


def form() -> InputForm:
    rng = np.random.default_rng(0)
    return InputForm.of(Records(inputs=rng.normal(size=(20, 4)).astype(np.float32), labels=np.arange(20) % 2))


def settings(kind: str, **others: object) -> GeneratorSettings:
    return GeneratorSettings(kind=kind, width=16, depth=2, noise_size=3, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["flow", "vae", "gan"])
def test_a_network_takes_one_tensor_and_gives_examples(kind: str) -> None:
    network = build_network(settings(kind), form(), 2)

    packed = network.pack(torch.randn(5, network.noise_size), torch.tensor([0, 1, 0, 1, 1]))

    assert network(packed).shape == (5, 4)


def test_kinds_that_are_fitted_have_no_network() -> None:
    with pytest.raises(ValueError, match="fitted at once"):
        build_network(settings("gaussian"), form(), 2)


def test_a_flow_along_a_known_field_arrives_where_it_should() -> None:
    """For examples at m alone the field is (m - x) / (1 - t), and every path ends at m."""
    flow = FlowMatching(settings("flow", sampling_steps=8), form(), 2)
    target = torch.tensor([1.0, -2.0, 0.5, 3.0])
    flow.velocity = lambda x, t, c: (target - x) / (1 - t).clamp(min=1e-3)  # type: ignore[method-assign]

    ended = flow(flow.pack(torch.randn(10, 4), torch.zeros(10, dtype=torch.int64)))

    # The field has no end at t = 1, so that the last half step is a guess.
    assert (ended - target).abs().max() < 0.7 * (torch.randn(10, 4) - target).abs().max()


def test_the_loss_of_a_flow_is_the_error_of_the_velocity() -> None:
    flow = FlowMatching(settings("flow"), form(), 2)
    flow.velocity = lambda x, t, c: torch.zeros_like(x)  # type: ignore[method-assign]
    x = torch.full((20_000, 4), 3.0)

    loss = flow.training_loss(x, torch.zeros(20_000, dtype=torch.int64))

    # E (x_1 - x_0)^2 = 9 + 1.
    assert float(loss) == pytest.approx(10.0, rel=0.02)


def test_the_loss_of_a_vae_is_minus_the_bound_written_out() -> None:
    vae = ConditionalVae(settings("vae"), form(), 2)
    x, labels = torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 0, 1])
    classes = vae.one_hot(labels)

    torch.manual_seed(0)
    loss = vae.training_loss(x, labels)

    torch.manual_seed(0)
    mean, log_variance = vae.encoder(x, classes).chunk(2, dim=1)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    z = mean + torch.randn_like(mean) * posterior.scale
    likelihood = torch.distributions.Normal(vae.decoder(z, classes), vae.log_spread.exp()).log_prob(x)
    prior = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    divergence = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    constant = 0.5 * np.log(2 * np.pi)
    bound = likelihood.sum(dim=1) + 4 * constant - divergence
    assert float(loss.detach()) == pytest.approx(-float(bound.mean().detach()) / 4, rel=1e-5)


def gan_after(num_calls: int) -> tuple[WassersteinGan, torch.Tensor]:
    torch.manual_seed(0)
    gan = WassersteinGan(settings("gan", critic_steps=3), form(), 2)
    gan.num_calls += num_calls
    return gan, gan.training_loss(torch.randn(8, 4), torch.tensor([0, 1] * 4))


def test_in_a_step_of_the_critic_the_generator_is_left_alone() -> None:
    gan, loss = gan_after(0)

    loss.backward()

    assert all(parameter.grad is None for parameter in gan.generator.parameters())
    assert any(parameter.grad.abs().sum() > 0 for parameter in gan.critic.parameters())


def test_in_the_generators_turn_the_critic_has_the_gradient_of_its_own_loss_alone() -> None:
    gan, loss = gan_after(2)

    loss.backward()

    assert any(parameter.grad.abs().sum() > 0 for parameter in gan.generator.parameters())
    # The very same draws without the generator's part.
    twin, twin_loss = gan_after(0)
    twin_loss.backward()
    for ours, theirs in zip(gan.critic.parameters(), twin.critic.parameters(), strict=True):
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_generators_step_makes_the_critic_like_it_more() -> None:
    gan, _ = gan_after(0)
    gan.num_calls.fill_(2)
    noise, labels = torch.randn(64, 3), torch.tensor([0, 1] * 32)
    before = gan.critic(gan.generator(noise, gan.one_hot(labels)), gan.one_hot(labels)).mean()
    held_critic = copy.deepcopy(gan.critic)

    gan.training_loss(torch.randn(64, 4), labels).backward()
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.sub_(0.05 * parameter.grad)

    after = held_critic(gan.generator(noise, gan.one_hot(labels)), gan.one_hot(labels)).mean()
    assert after > before


def test_examples_are_made_by_the_average_of_recent_weights() -> None:
    gan, _ = gan_after(0)
    packed = gan.pack(torch.randn(3, 3), torch.tensor([0, 1, 0]))
    before = gan(packed)
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.add_(0.5)

    assert torch.equal(gan(packed), before)
    for _ in range(6000):
        gan._follow()
    torch.testing.assert_close(gan(packed), gan.generator(*gan.unpack(packed)), rtol=1e-3, atol=1e-3)


def test_a_critic_that_is_flat_gives_no_nan() -> None:
    gan = WassersteinGan(settings("gan"), form(), 2)
    with torch.no_grad():
        for parameter in gan.critic.parameters():
            parameter.zero_()

    gan.training_loss(torch.randn(4, 4), torch.tensor([0, 1, 0, 1])).backward()

    assert all(torch.isfinite(p.grad).all() for p in gan.critic.parameters() if p.grad is not None)
