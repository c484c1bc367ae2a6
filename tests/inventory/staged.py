"""Small models of one's own in blocks and stages, in the ways in which libraries write them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

DEPTHS = (1, 2, 4, 1)


class Block(nn.Module):
    """A residual block: two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add to the input."""
        return x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))


def widths(depths: Sequence[int]) -> list[int]:
    """Return the width of each stage."""
    return [4 * 2**at for at in range(len(depths))]


def blocks(width: int, depth: int) -> list[Block]:
    """Return the blocks of one stage."""
    return [Block(width) for _ in range(depth)]


class Siblings(nn.Module):
    """Stages beside each other under names with numbers, as in a ResNet."""

    def __init__(self, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        for at, (width, depth) in enumerate(zip(widths(depths), depths, strict=True)):
            setattr(self, f"layer{at + 1}", nn.Sequential(*blocks(width, depth)))
        self.fc = nn.Linear(32, 2)


class InOneList(nn.Module):
    """A stem, stages and what makes maps smaller in one list, as torchvision writes ConvNeXt and Swin."""

    def __init__(self, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Sequential(nn.Conv2d(3, 4, 4), nn.BatchNorm2d(4))]
        for at, (width, depth) in enumerate(zip(widths(depths), depths, strict=True)):
            if at:
                parts.append(nn.Sequential(nn.BatchNorm2d(width // 2), nn.Conv2d(width // 2, width, 2)))
            parts.append(nn.Sequential(*blocks(width, depth)))
        self.features = nn.Sequential(*parts, nn.Conv2d(widths(depths)[-1], 64, 1))
        self.classifier = nn.Linear(64, 2)


class Stage(nn.Module):
    """A stage with its blocks in a list."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(width // 2, width, 2)
        self.inner = nn.ModuleList(blocks(width, depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the blocks one after the other."""
        x = self.down(x)
        for block in self.inner:
            x = block(x)
        return x


class Nested(nn.Module):
    """A list of stages that hold lists of blocks, as timm and transformers write Swin."""

    def __init__(self, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 3)
        pairs = zip(widths(depths), depths, strict=True)
        self.stages = nn.ModuleList(Stage(width, depth) for width, depth in pairs)
        self.head = nn.Linear(32, 2)


class Named(nn.Module):
    """Stages and blocks with names that end in numbers, as in a DenseNet or a RegNet."""

    def __init__(self, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        parts: list[tuple[str, nn.Module]] = [("conv0", nn.Conv2d(3, 4, 3))]
        for at, (width, depth) in enumerate(zip(widths(depths), depths, strict=True)):
            named = OrderedDict(
                (f"block{at + 1}-{index}", item) for index, item in enumerate(blocks(width, depth))
            )
            parts.append((f"stage{at + 1}", nn.Sequential(named)))
            parts.append((f"transition{at + 1}", nn.Conv2d(width, width * 2, 1)))
        self.trunk = nn.Sequential(OrderedDict(parts))


class Beside(nn.Module):
    """What makes maps smaller in a list of its own, as in the ConvNeXt of its authors."""

    def __init__(self, depths: Sequence[int] = DEPTHS) -> None:
        super().__init__()
        ins = [3, *widths(depths)[:-1]]
        self.downsample_layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(one, two, 2), nn.BatchNorm2d(two))
            for one, two in zip(ins, widths(depths), strict=True)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*blocks(width, depth)) for width, depth in zip(widths(depths), depths, strict=True)
        )
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 2)


class Branches(nn.Module):
    """A layer whose branches are lists of blocks that run side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*blocks(width, 2)) for _ in range(2))

    def forward(self, x: list[torch.Tensor]) -> list[torch.Tensor]:
        """Run each branch on its own input."""
        return [branch(part) for part, branch in zip(x, self.branches, strict=True)]


class Experts(nn.Module):
    """A layer with experts: alike modules that hold most of it and run side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, 4)
        self.some = nn.ModuleList(Block(width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add up what the experts say."""
        total = torch.zeros_like(x)
        for index, expert in enumerate(self.some):
            total += self.gate(x)[..., index : index + 1] * expert(x)
        return total


class Equal(Stage):
    """A stage that keeps the width."""

    def __init__(self) -> None:
        super().__init__(8, 3)
        self.down = nn.Conv2d(8, 8, 1)
