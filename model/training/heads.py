"""Projection heads of the class token contrast.

References:
    ToCo, section 3.3; DINO (Caron et al., ICCV 2021) for the shape of the head.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from toco.model.training.config import ContrastConfig


class ProjectionHead(nn.Module):
    """MLP with GELU, L2 normalisation, weight-normed linear of fixed gain 1: (n, d) to (n, outputs)."""

    def __init__(self, width: int, *, hidden: int, bottleneck: int, outputs: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last_layer = weight_norm(nn.Linear(bottleneck, outputs, bias=False))
        gain = self.last_layer.parametrizations.weight.original0
        nn.init.ones_(gain)
        gain.requires_grad_(requires_grad=False)

    def forward(self, class_tokens: Tensor) -> Tensor:
        """Project class tokens (n, d) to (n, outputs)."""
        projected: Tensor = self.last_layer(F.normalize(self.mlp(class_tokens), dim=-1))
        return projected


class ContrastHeads(nn.Module):
    """A student head and its teacher, the exponential moving average of the student."""

    def __init__(self, width: int, config: ContrastConfig) -> None:
        super().__init__()
        self.student = ProjectionHead(width, hidden=config.hidden, bottleneck=config.bottleneck, outputs=config.outputs)
        self.teacher = copy.deepcopy(self.student).requires_grad_(requires_grad=False)
        self.momentum = config.momentum

    @torch.no_grad()
    def update_teacher(self) -> None:
        """Move the teacher towards the student; once every step."""
        for teacher, student in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            teacher.lerp_(student, 1.0 - self.momentum)
