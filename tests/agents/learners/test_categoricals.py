from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical

from agents.learning.categoricals import Categoricals

SIZES = [3, 1, 5]


@pytest.fixture
def logits() -> torch.Tensor:
    torch.manual_seed(0)
    scattered = 4.0 * torch.randn(50, sum(SIZES))
    scattered[:, :3] -= 200.0  # blocks are independent, so that their levels mean nothing
    return scattered


def blocks_of(logits):
    return [Categorical(logits=block) for block in logits.split(SIZES, dim=1)]


def test_log_probabilities_and_entropies_are_those_of_each_axis(logits):
    choices = Categoricals(SIZES)
    scores = choices.scores(logits)
    expected = torch.cat([block.logits for block in blocks_of(logits)], dim=1)
    torch.testing.assert_close(scores.log_p, expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(scores.p, expected.exp(), atol=1e-4, rtol=1e-4)
    entropies = torch.stack([block.entropy() for block in blocks_of(logits)], dim=1)
    torch.testing.assert_close(scores.entropy, entropies, atol=1e-4, rtol=1e-4)


def test_log_probability_of_an_action_is_the_sum_over_its_axes(logits):
    choices = Categoricals(SIZES)
    actions = torch.stack([block.sample() for block in blocks_of(logits)], dim=1)
    expected = sum(b.log_prob(a) for b, a in zip(blocks_of(logits), actions.T, strict=True))
    found = choices.log_prob(choices.log_softmax(logits), actions)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    assert choices.one_hot(actions).sum(dim=1).tolist() == [3.0] * 50


def test_mode_is_the_likeliest_choice_of_each_axis(logits):
    expected = torch.stack([block.probs.argmax(dim=1) for block in blocks_of(logits)], dim=1)
    assert torch.equal(Categoricals(SIZES).mode(logits), expected)


def test_samples_come_as_often_as_they_are_likely():
    torch.manual_seed(1)
    choices = Categoricals(SIZES)
    p = torch.tensor([[0.2, 0.0, 0.8, 1.0, 0.1, 0.2, 0.3, 0.4, 0.0]]).expand(20_000, -1)
    drawn = choices.one_hot(choices.sample(p)).mean(dim=0)
    assert drawn.tolist() == pytest.approx(p[0].tolist(), abs=0.015)
    assert drawn[1] == drawn[8] == 0.0
