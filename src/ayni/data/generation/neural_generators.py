"""The three neural generators. Each is a module from noise and a class to an example, with a loss of its own.

`forward` takes one tensor [B, Z + C], noise and then the class as zeros and a one, and gives encoded
examples [B, D]: so a published generator is a model like any other. `training_loss` is one scalar for one
optimizer, since that is what learners exchange; a GAN has its two players inside of it.

Legend: B batch, D numbers of an encoded input, C classes, Z numbers of noise.

Not covered: pre-trained generators, guidance, and generators of text.
"""

import math
from typing import cast

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from ayni.data.generation.generator_settings import GeneratorSettings
from ayni.data.generation.input_form import InputForm
from ayni.data.generation.networks import make_decoder, make_encoder, make_field

# Waves that a flow's time is told in: one number would be lost among the pixels.
_NUM_TIME_WAVES = 4
# Of the averages of a gan's weights: they look back over a few hundred steps, for the two players circle
# around where they would rest.
_AVERAGE_DECAY = 0.997


class NeuralGenerator(nn.Module):
    """What the three have in common: sizes, and how an input of `forward` is taken apart."""

    def __init__(self, noise_size: int, num_classes: int) -> None:
        super().__init__()
        self.noise_size = noise_size
        self.num_classes = num_classes

    def training_loss(self, x_BD: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """Scalar mean over a batch of encoded examples."""
        raise NotImplementedError

    def one_hot(self, labels_B: torch.Tensor) -> torch.Tensor:
        """Class numbers as [B, C]."""
        return functional.one_hot(labels_B, self.num_classes).to(torch.float32)

    def pack(self, noise_BZ: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """The input of `forward`."""
        return torch.cat([noise_BZ, self.one_hot(labels_B)], dim=1)

    def unpack(self, packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Noise [B, Z] and class [B, C]."""
        return packed[:, : self.noise_size], packed[:, self.noise_size :]


class FlowMatching(NeuralGenerator):
    """A field v of velocities that carries noise to examples along nearly straight lines.

        loss:    |v(x_t, t, c) - (x_1 - x_0)|^2,   x_t = (1 - t) x_0 + t x_1,   x_0 ~ N(0, I), t ~ U(0, 1)
        sample:  dx = v(x, t, c) dt from t = 0 to 1, by Heun's method

    Source: Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023, arXiv:2210.02747; Liu et al.,
    "Flow Straight and Fast", ICLR 2023, arXiv:2209.03003 (the straight paths that are taken here).
    """

    def __init__(self, settings: GeneratorSettings, form: InputForm, num_classes: int) -> None:
        super().__init__(form.num_encoded, num_classes)
        self.num_steps = settings.sampling_steps
        self.field = make_field(settings, form, num_classes + 2 * _NUM_TIME_WAVES)

    def velocity(self, x_BD: torch.Tensor, time_B1: torch.Tensor, classes_BC: torch.Tensor) -> torch.Tensor:
        """The field at a time in [0, 1]."""
        waves = time_B1 * math.pi * 2.0 ** torch.arange(_NUM_TIME_WAVES, device=x_BD.device) / 2
        condition = torch.cat([classes_BC, torch.sin(waves), torch.cos(waves)], dim=1)
        return cast(torch.Tensor, self.field(x_BD, condition))

    def training_loss(self, x_BD: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """Squared error of the velocity."""
        noise_BD = torch.randn_like(x_BD)
        time_B1 = torch.rand(len(x_BD), 1, device=x_BD.device)
        between_BD = (1 - time_B1) * noise_BD + time_B1 * x_BD
        velocity_BD = self.velocity(between_BD, time_B1, self.one_hot(labels_B))
        return functional.mse_loss(velocity_BD, x_BD - noise_BD)

    def forward(self, packed: torch.Tensor) -> torch.Tensor:
        """Encoded examples [B, D] from noise and classes."""
        x_BD, classes_BC = self.unpack(packed)
        step = 1.0 / self.num_steps
        for index in range(self.num_steps):
            now = torch.full_like(x_BD[:, :1], index * step)
            slope = self.velocity(x_BD, now, classes_BC)
            ahead = self.velocity(x_BD + step * slope, now + step, classes_BC)
            x_BD = x_BD + step * (slope + ahead) / 2
        return x_BD


class ConditionalVae(NeuralGenerator):
    """An encoder to a Gaussian over noise and a decoder back, both told the class.

        loss = |x - decode(z)|^2 / 2 s^2 + D log s + w KL(q(z | x, c) || N(0, I)),   z ~ q(z | x, c)

    The spread s of what the decoder leaves unsaid is learned, and added when sampling: without it examples
    are means, too smooth to be taken for real ones.

    Source: Kingma & Welling, ICLR 2014, arXiv:1312.6114; Sohn et al., NeurIPS 2015 (the condition); Rybkin
    et al., "Simple and Effective VAE Training with Calibrated Decoders", ICML 2021, arXiv:2006.13202.
    """

    def __init__(self, settings: GeneratorSettings, form: InputForm, num_classes: int) -> None:
        # Half of the noise is for the latent, the rest, one number each, for what the decoder leaves unsaid.
        super().__init__(settings.noise_size + form.num_encoded, num_classes)
        self.latent_size = settings.noise_size
        self.kl_weight = settings.kl_weight
        self.encoder = make_encoder(settings, form, num_classes, 2 * settings.noise_size)
        self.decoder = make_decoder(settings, form, num_classes)
        self.log_spread = nn.Parameter(torch.full((form.num_encoded,), -1.0))

    def training_loss(self, x_BD: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """Minus the evidence's lower bound, for each number of an input."""
        classes_BC = self.one_hot(labels_B)
        mean_BZ, log_variance_BZ = self.encoder(x_BD, classes_BC).chunk(2, dim=1)
        # A variance without bounds overflows in the first steps.
        log_variance_BZ = log_variance_BZ.clamp(-8, 8)
        z_BZ = mean_BZ + torch.randn_like(mean_BZ) * (0.5 * log_variance_BZ).exp()
        log_spread_D = self.log_spread.clamp(min=-4)
        error_BD = (x_BD - self.decoder(z_BZ, classes_BC)) / log_spread_D.exp()
        unlikelihood = (0.5 * error_BD**2 + log_spread_D).sum(dim=1)
        divergence = 0.5 * (mean_BZ**2 + log_variance_BZ.exp() - 1 - log_variance_BZ).sum(dim=1)
        loss: torch.Tensor = (unlikelihood + self.kl_weight * divergence).mean() / x_BD.shape[1]
        return loss

    def forward(self, packed: torch.Tensor) -> torch.Tensor:
        """Encoded examples [B, D] from noise and classes."""
        noise, classes_BC = self.unpack(packed)
        z_BZ, unsaid_BD = noise[:, : self.latent_size], noise[:, self.latent_size :]
        out: torch.Tensor = self.decoder(z_BZ, classes_BC) + unsaid_BD * self.log_spread.clamp(min=-4).exp()
        return out


class WassersteinGan(NeuralGenerator):
    """A generator G and a critic f that tells examples from made ones, held to slopes of 1 by a penalty.

        critic:     E f(G(z)) - E f(x) + p E (|grad f(mix)| - 1)^2,   mix between x and G(z)
        generator:  - E f(G(z)), each critic_steps-th time

    Both in one loss for one optimizer: the critic's part sees made examples without their graph, and the
    generator's part a critic whose weights are held. In steps of the critic alone the generator has no
    gradient at all, which AdamW takes as "leave it be". The count of steps is a buffer of whole numbers; such
    buffers begin anew in each round (train.replica), so that all learners alternate alike.

    Source: Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, arXiv:1704.00028. Its
    Adam has betas (0, 0.9); ours has those of all trainings, and fewer steps of the critic do.
    """

    num_calls: torch.Tensor

    def __init__(self, settings: GeneratorSettings, form: InputForm, num_classes: int) -> None:
        super().__init__(settings.noise_size, num_classes)
        self.penalty, self.critic_steps = settings.gradient_penalty, settings.critic_steps
        self.generator = make_decoder(settings, form, num_classes)
        self.critic = make_encoder(settings, form, num_classes, 1)
        self.register_buffer("num_calls", torch.zeros((), dtype=torch.int64))
        self._average_names = {name: "average_" + name.replace(".", "_") for name in self._weights()}
        for name, value in self._weights().items():
            self.register_buffer(self._average_names[name], value.clone())

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: value.detach() for name, value in self.generator.named_parameters()}

    def _follow(self) -> None:
        """Let the averages of the generator's weights follow it."""
        for name, value in self._weights().items():
            getattr(self, self._average_names[name]).lerp_(value, 1 - _AVERAGE_DECAY)

    def training_loss(self, x_BD: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
        """The critic's loss, and in its turn the generator's."""
        classes_BC = self.one_hot(labels_B)
        made_BD = self.generator(self._noise(x_BD), classes_BC)
        loss = self._critic_loss(x_BD, made_BD.detach(), classes_BC)
        self.num_calls += 1
        self._follow()
        if int(self.num_calls) % self.critic_steps == 0:
            held = {name: value.detach() for name, value in self.critic.named_parameters()}
            loss = loss - functional_call(self.critic, held, (made_BD, classes_BC)).mean()
        return loss

    def _noise(self, like: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(like), self.noise_size, device=like.device)

    def _critic_loss(
        self, x_BD: torch.Tensor, made_BD: torch.Tensor, classes_BC: torch.Tensor
    ) -> torch.Tensor:
        share_B1 = torch.rand(len(x_BD), 1, device=x_BD.device)
        mixed_BD = (share_B1 * x_BD + (1 - share_B1) * made_BD).requires_grad_()
        with torch.enable_grad():
            judged = self.critic(mixed_BD, classes_BC).sum()
            (slope_BD,) = torch.autograd.grad(judged, mixed_BD, create_graph=True)
        # The root of zero has no slope: a critic that is flat at first would give NaN.
        length_B = (slope_BD.square().sum(dim=1) + 1e-12).sqrt()
        difference = self.critic(made_BD, classes_BC).mean() - self.critic(x_BD, classes_BC).mean()
        loss: torch.Tensor = difference + self.penalty * (length_B - 1).square().mean()
        return loss

    def forward(self, packed: torch.Tensor) -> torch.Tensor:
        """Encoded examples [B, D] from noise and classes."""
        averages = {name: getattr(self, kept) for name, kept in self._average_names.items()}
        return cast(torch.Tensor, functional_call(self.generator, averages, self.unpack(packed)))


def build_network(settings: GeneratorSettings, form: InputForm, num_classes: int) -> NeuralGenerator:
    """The untrained network of a neural kind.

    Raises:
        ValueError: the kind has no network, or its layers do not suit the inputs.
    """
    match settings.kind:
        case "flow":
            return FlowMatching(settings, form, num_classes)
        case "vae":
            return ConditionalVae(settings, form, num_classes)
        case "gan":
            return WassersteinGan(settings, form, num_classes)
        case _:
            raise ValueError(f"a generator of kind {settings.kind} is fitted at once and has no network")
