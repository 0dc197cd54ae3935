"""Each mechanism against its formula written out, SE and ECA also against published layers."""

import math
from itertools import product

import pytest
import torch
from timm.layers import EcaModule
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import SqueezeExcitation

from dsnet.config.detector import AttentionOptions
from dsnet.detect.attention import (
    ATTENTION,
    DS,
    ECA,
    SE,
    SK,
    Residual,
    attention_module,
    project_gammas,
    residuals,
)

CHANNELS = 6


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, CHANNELS, 5, 4, dtype=torch.float64)


def prepared(module: nn.Module) -> nn.Module:
    """Return the module in float64 and evaluation mode, with norms that are not the identity."""
    torch.manual_seed(2)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2.0)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return module.double().eval().requires_grad_(False)


def convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return a grouped, dilated convolution as the sum that defines it."""
    reach, step = conv.kernel_size[0] // 2, conv.dilation[0]
    share = conv.in_channels // conv.groups
    y = torch.zeros_like(x).tolist()
    height, width = x.shape[-2:]
    pixels, weights = x.tolist(), conv.weight.tolist()
    for image, out, row, column in product(*(range(n) for n in x.shape)):
        first = (out // (conv.out_channels // conv.groups)) * share
        for of, i, j in product(range(share), *[range(-reach, reach + 1)] * 2):
            at = row + i * step, column + j * step
            if 0 <= at[0] < height and 0 <= at[1] < width:
                weight = weights[out][of][i + reach][j + reach]
                y[image][out][row][column] += weight * pixels[image][first + of][at[0]][at[1]]
    return torch.tensor(y, dtype=x.dtype)


def branch(x: Tensor, layers: nn.Sequential) -> Tensor:
    """Return convolution, norm and ReLU."""
    conv, norm, _ = layers
    y = convolve(x, conv)
    for c in range(y.shape[1]):
        spread = math.sqrt(norm.running_var[c] + norm.eps)
        y[:, c] = (y[:, c] - norm.running_mean[c]) / spread * norm.weight[c] + norm.bias[c]
    return y.clamp(min=0)


def affine(pooled: Tensor, conv: nn.Conv2d) -> Tensor:
    """Return equation 2 on vectors (images, channels)."""
    bias = 0 if conv.bias is None else conv.bias
    return pooled @ conv.weight[:, :, 0, 0].T + bias


def pool(x: Tensor) -> Tensor:
    """Return equation 1."""
    return x.sum(dim=(2, 3)) / (x.shape[2] * x.shape[3])


def weighted(x: Tensor, weights: Tensor) -> Tensor:
    return torch.stack(
        [torch.stack([x[i, c] * weights[i, c] for c in range(x.shape[1])]) for i in range(len(x))]
    )


def test_se_is_its_formula(x: Tensor) -> None:
    module = prepared(SE(CHANNELS, reduction=2))
    hidden = affine(pool(x), module.squeeze).clamp(min=0)
    expected = weighted(x, 1 / (1 + torch.exp(-affine(hidden, module.excite))))
    torch.testing.assert_close(module(x), expected)


def test_se_is_torchvision_s() -> None:
    ours, theirs = SE(64), SqueezeExcitation(64, 64 // 16)
    theirs.load_state_dict(
        {
            f"{their}.{end}": getattr(getattr(ours, our), end)
            for our, their in (("squeeze", "fc1"), ("excite", "fc2"))
            for end in ("weight", "bias")
        }
    )
    x = torch.randn(2, 64, 5, 4)
    torch.testing.assert_close(ours(x), theirs(x))


def test_eca_is_its_formula(x: Tensor) -> None:
    module = prepared(ECA(CHANNELS))
    (kernel,) = module.conv.weight[0].tolist()
    reach = len(kernel) // 2
    weights = torch.zeros(x.shape[:2], dtype=x.dtype)
    for image, pooled in enumerate(pool(x).tolist()):
        for channel, step in product(range(CHANNELS), range(-reach, reach + 1)):
            if 0 <= channel + step < CHANNELS:
                weights[image, channel] += kernel[step + reach] * pooled[channel + step]
    torch.testing.assert_close(module(x), weighted(x, torch.sigmoid(weights)))


@pytest.mark.parametrize(("channels", "kernel"), [(16, 3), (64, 3), (512, 5), (1280, 5), (2048, 7)])
def test_eca_is_timm_s(channels: int, kernel: int) -> None:
    ours, theirs = ECA(channels), EcaModule(channels)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, channels, 3, 2)
    assert ours.conv.kernel_size == (kernel,)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("branch5", ["conv5", "dilated3"])
def test_sk_is_its_formula(x: Tensor, branch5: str) -> None:
    module = prepared(SK(CHANNELS, groups=2, branch5=branch5, reduction=2, narrowest=4))
    small, large = branch(x, module.small), branch(x, module.large)
    conv, norm, _ = module.squeeze
    hidden = affine(pool(small + large), conv)
    hidden = (hidden - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
    hidden = (hidden * norm.weight + norm.bias).clamp(min=0)
    a = torch.exp(affine(hidden, module.choose_small))
    b = torch.exp(affine(hidden, module.choose_large))
    expected = weighted(small, a / (a + b)) + weighted(large, b / (a + b))
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("branch5", ["conv5", "dilated3"])
@pytest.mark.parametrize("fuse", ["dilated3", "none"])
@pytest.mark.parametrize("gate", ["sigmoid", "linear", "softmax"])
@pytest.mark.parametrize("second_gate", [False, True])
def test_ds_is_its_formula(
    x: Tensor, branch5: str, fuse: str, gate: str, second_gate: bool
) -> None:
    module = prepared(
        DS(CHANNELS, groups=4, branch5=branch5, fuse=fuse, gate=gate, second_gate=second_gate)
    )
    small, large = branch(x, module.small), branch(x, module.large)
    z3 = affine(pool(small), module.weigh_small[1])
    z5 = affine(pool(large), module.weigh_large[1])
    g3, g5 = {
        "sigmoid": (torch.sigmoid(z3), torch.sigmoid(z5)),
        "linear": (z3, z5),
        "softmax": (1 / (1 + torch.exp(z5 - z3)), 1 / (1 + torch.exp(z3 - z5))),
    }[gate]
    expected = weighted(small, g3) + weighted(large, g5)
    if fuse == "dilated3":
        assert module.fuse[0].dilation == (2, 2)
        expected = branch(expected, module.fuse)
    if second_gate:
        z = affine(pool(expected), module.weigh_fused[1])
        expected = weighted(expected, z if gate == "linear" else torch.sigmoid(z))
    torch.testing.assert_close(module(x), expected)


def test_ds_reduces_its_affine_layer(x: Tensor) -> None:
    module = prepared(DS(CHANNELS, reduction=3, fuse="none"))
    _, first, _, second = module.weigh_small
    assert first.out_channels == CHANNELS // 3
    small, large = branch(x, module.small), branch(x, module.large)
    gates = []
    for z, layers in ((small, module.weigh_small), (large, module.weigh_large)):
        gates.append(torch.sigmoid(affine(affine(pool(z), layers[1]).clamp(min=0), layers[3])))
    expected = weighted(small, gates[0]) + weighted(large, gates[1])
    torch.testing.assert_close(module(x), expected)
    assert second.out_channels == CHANNELS


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (2048, 32), (16, 16), (24, 8)])
def test_groups_divide_any_number_of_channels(channels: int, groups: int) -> None:
    assert DS(channels).small[0].groups == groups == math.gcd(32, channels)


def test_ungrouped_ds_has_the_weights_that_interpretation_4_gives() -> None:
    with torch.device("meta"):
        weights = sum(p.numel() for p in DS(2048, groups=1).parameters())
    assert round(weights / 1e6) == 189


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8)])
def test_every_mechanism_keeps_the_shape(name: str, size: tuple[int, int]) -> None:
    module = attention_module(name, 8, AttentionOptions(init="plain"))
    x = torch.randn(2, 8, *size)
    assert module(x).shape == x.shape


@pytest.mark.parametrize("name", ["se", "sk", "eca", "ds"])
def test_identity_until_gamma_moves(name: str) -> None:
    module = attention_module(name, 8, AttentionOptions())
    x = torch.randn(2, 8, 6, 6)
    assert isinstance(module, Residual)
    assert torch.equal(module(x), x)
    module(x).square().sum().backward()
    assert module.gamma.grad.abs() > 0
    with torch.no_grad():
        module.gamma.fill_(0.5)
    module.eval()
    torch.testing.assert_close(module(x), x + 0.5 * module.module(x))


@pytest.mark.parametrize(("gamma", "kept"), [(-0.5, 0.0), (0.0, 0.0), (0.7, 0.7)])
def test_a_gate_cannot_turn_round(gamma: float, kept: float) -> None:
    network = nn.Sequential(
        attention_module("se", 8, AttentionOptions()),
        attention_module("se", 8, AttentionOptions(gamma="free")),
        nn.Conv2d(8, 8, 1),
    )
    before = network[2].weight.clone()
    with torch.no_grad():
        for residual in residuals(network).values():
            residual.gamma.fill_(gamma)
    project_gammas(network)
    values = [residual.gamma.item() for residual in residuals(network).values()]
    assert values == pytest.approx([kept, gamma])
    assert torch.equal(network[2].weight, before)


def test_every_option_reaches_the_module() -> None:
    options = AttentionOptions(
        init="plain",
        groups=2,
        branch5="dilated3",
        fuse="none",
        gate="softmax",
        reduction=4,
        second_gate=True,
    )
    sk, ds = (attention_module(name, 8, options) for name in ("sk", "ds"))
    for module in (sk, ds):
        assert (module.large[0].kernel_size, module.large[0].dilation) == ((3, 3), (2, 2))
        assert module.small[0].groups == 2
    assert isinstance(ds.fuse, nn.Identity)
    assert ds.gate == "softmax"
    assert ds.weigh_small[1].out_channels == ds.weigh_fused[1].out_channels == 8 // 4


def test_none_is_never_wrapped() -> None:
    assert isinstance(attention_module("none", 8, AttentionOptions()), nn.Identity)


def test_the_formulas_convolution_is_torch_convolution(x: Tensor) -> None:
    conv = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3, bias=False).double()
    expected = functional.conv2d(x, conv.weight, padding=2, dilation=2, groups=3)
    torch.testing.assert_close(convolve(x, conv), expected)
