"""Projection heads: DINO's shape with a gain fixed at 1; the teacher follows the student and never learns."""

import torch
import torch.nn.functional as F

from toco.model.training.config import ContrastConfig
from toco.model.training.heads import ContrastHeads, ProjectionHead

SIZES = ContrastConfig(hidden=20, bottleneck=6, outputs=9, momentum=0.9)


def test_the_head_equals_its_formula(close):
    head = ProjectionHead(7, hidden=20, bottleneck=6, outputs=9)
    tokens = torch.randn(5, 7)
    one, two, three = (layer for layer in head.mlp if isinstance(layer, torch.nn.Linear))
    hidden = F.gelu(F.gelu(tokens @ one.weight.T + one.bias) @ two.weight.T + two.bias)
    bottleneck = hidden @ three.weight.T + three.bias
    direction = head.last_layer.parametrizations.weight.original1
    rows = direction / direction.norm(dim=1, keepdim=True)
    close(head(tokens), bottleneck / bottleneck.norm(dim=1, keepdim=True) @ rows.T)


def test_outputs_are_cosines():
    head = ProjectionHead(7, hidden=20, bottleneck=6, outputs=9)
    assert float(head(100 * torch.randn(50, 7)).detach().abs().max()) <= 1.0 + 1e-6


def test_the_gain_is_one_and_stays():
    head = ProjectionHead(7, hidden=20, bottleneck=6, outputs=9)
    gain = head.last_layer.parametrizations.weight.original0
    assert not gain.requires_grad
    assert bool((gain == 1).all())
    head(torch.randn(5, 7)).sum().backward()
    assert gain.grad is None
    assert head.last_layer.parametrizations.weight.original1.grad is not None


def test_a_fresh_teacher_is_the_student_and_has_no_gradient():
    heads = ContrastHeads(7, SIZES)
    tokens = torch.randn(3, 7)
    assert torch.equal(heads.student(tokens), heads.teacher(tokens))
    assert not any(parameter.requires_grad for parameter in heads.teacher.parameters())
    assert any(parameter.requires_grad for parameter in heads.student.parameters())


def test_the_teacher_is_the_moving_average_of_the_student(close):
    heads = ContrastHeads(7, SIZES)
    average = [parameter.clone() for parameter in heads.teacher.parameters()]
    for _ in range(3):
        with torch.no_grad():
            for parameter in heads.student.parameters():
                parameter.add_(torch.randn_like(parameter))
        heads.update_teacher()
        students = heads.student.parameters()
        average = [0.9 * old + 0.1 * new for old, new in zip(average, students, strict=True)]
    for parameter, wanted in zip(heads.teacher.parameters(), average, strict=True):
        close(parameter, wanted)
