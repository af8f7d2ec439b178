"""U-Nets without an adapter: what lies below a level, or the whole encoder, of our U-Net and of diffusers'.

The layers of a U-Net are taken in the order in which they run. Skip number i, counted from the input (0 is the first
convolution), is joined by the last up layer but i. Below branch b lies everything that the last b + 1 up layers do not
need: DeepCache (Ma et al. 2024, arXiv:2312.00858) keeps its output, the encoder propagation of Faster Diffusion (Li et
al. 2024, arXiv:2312.09608) keeps the skips instead.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fewstep.core.caches.scope import Site
from fewstep.core.errors import UsageError
from fewstep.core.nn.unet import UNet


@dataclass(frozen=True)
class Layers:
    """A U-Net as lists of layers, each the modules that run one after the other.

    Parameters
    ----------
    enter
        The first convolution.
    down
        One list per skip after the first: what runs to produce it.
    middle
        Below the last skip.
    up
        One list per skip, deepest first: what runs to join it, and before the next.
    """

    enter: nn.Module
    down: list[list[nn.Module]]
    middle: list[nn.Module]
    up: list[list[nn.Module]]


@dataclass(frozen=True)
class Branch:
    """See `branch`."""

    level: int

    def resolve(self, net: nn.Module) -> list[Site]:
        """One site: everything below the branch."""
        found = layers(net)
        if not 0 <= self.level < len(found.up) - 1:
            raise UsageError(f"expected a branch from 0 to {len(found.up) - 2} of this U-Net, got {self.level}")
        below = [*found.down[self.level :], found.middle, *found.up[: len(found.up) - 1 - self.level]]
        modules = tuple(module for layer in below for module in layer)
        return [Site(f"below branch {self.level}", modules, "output", idle=_idle)]

    def describe(self) -> str:
        """Which branch."""
        return f"branch {self.level} of the U-Net"


@dataclass(frozen=True)
class Encoder:
    """See `encoder`."""

    def resolve(self, net: nn.Module) -> list[Site]:
        """One site per layer down to the middle."""
        found = layers(net)
        modules = [found.enter, *(module for layer in (*found.down, found.middle) for module in layer)]
        return [Site(f"encoder {i}", (module,), "output") for i, module in enumerate(modules)]

    def describe(self) -> str:
        """The name."""
        return "the U-Net's encoder"


def branch(level: int) -> Branch:
    """The feature that comes from below all but the last ``level + 1`` up layers of a U-Net.

    Parameters
    ----------
    level
        0 leaves only the first convolution and the last up layer to be computed. A deeper branch with a longer
        interval often serves better.

    Returns
    -------
    Branch
        A scope, for a `fewstep.core.nn.unet.UNet` or diffusers' ``UNet2DModel`` and ``UNet2DConditionModel``, or a net
        that has one of them inside. Resolving it raises `UsageError` if there is none, or it has no such branch.
    """
    return Branch(level)


def encoder() -> Encoder:
    """Every skip and the middle of a U-Net; a predicted row runs the decoder alone, told the row's time but not x.

    Returns
    -------
    Encoder
        A scope, for the nets of `branch`.
    """
    return Encoder()


def layers(net: nn.Module) -> Layers:
    """The first U-Net inside a net, by layers.

    Parameters
    ----------
    net
        Any.

    Returns
    -------
    Layers

    Raises
    ------
    UsageError
        If there is no U-Net of a known kind.
    """
    for module in net.modules():
        if isinstance(module, UNet):
            return _ours(module)
        if all(hasattr(module, name) for name in ("conv_in", "down_blocks", "mid_block", "up_blocks")):
            return _diffusers(module)
    raise UsageError(
        f"{type(net).__name__} holds no U-Net of fewstep or diffusers: give its halves to caches.unet_branch"
    )


def _ours(net: Any) -> Layers:
    down: list[list[nn.Module]] = []
    for level, stage in enumerate(net.down):
        down += [[]] if level else []  # a pooled skip, which no module makes
        down += [[block] for block in stage]
    up = [[block] for stage in net.up for block in stage]
    return Layers(net.enter, down, [net.middle[0], net.attention, net.middle[1]], up)


def _diffusers(net: Any) -> Layers:
    if any(hasattr(block, "skip_conv") for block in (*net.down_blocks, *net.up_blocks)):
        raise UsageError("U-Nets whose blocks hand on a picture beside the state (skip_conv) are not cached")
    down = []
    for block in net.down_blocks:
        down += _pairs(block)
        down += [[module] for module in block.downsamplers or []]
    up: list[list[nn.Module]] = []
    for block in net.up_blocks:
        up += _pairs(block)
        up[-1] = [*up[-1], *(block.upsamplers or [])]
    return Layers(net.conv_in, down, [] if net.mid_block is None else [net.mid_block], up)


def _pairs(block: Any) -> list[list[nn.Module]]:
    beside = getattr(block, "attentions", None) or [None] * len(block.resnets)
    return [[resnet] if other is None else [resnet, other] for resnet, other in zip(block.resnets, beside, strict=True)]


def _idle(module: nn.Module, x: Tensor) -> Any:
    """One channel: something that may be joined and split, and that nothing reads."""
    return (x[:, :1],) if "Transformer" in type(module).__name__ else x[:, :1]
