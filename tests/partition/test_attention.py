"""Choosing, sending and fusing channels: the numpy side, the torch side, and that they agree."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from partition.attention import select

torch = pytest.importorskip("torch")

from partition.attention import evaluation, modules, training  # noqa: E402
from partition.attention.export import export  # noqa: E402
from partition.attention.runtime import AttentionRuntime  # noqa: E402
from partition.attention.torch_split import SplittableNetwork  # noqa: E402
from partition.errors import ModelFolderError, PartitionError  # noqa: E402
from partition.model.attention_files import folder_of  # noqa: E402
from partition.prepare.zoo import resolve  # noqa: E402
from partition.train_attention import takes_attention  # noqa: E402

SMALL = (24, 4, 4)
XI = (0.0, 0.02, 0.125, 0.3, 0.5, 0.97, 1.0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def network():
    module, _ = resolve("tiny-cnn").load()
    return module.eval()


@pytest.fixture(scope="module")
def cut(tiny, network):
    """Split point, both sides, and cut tensors of eight random images."""
    point = next(p for p in tiny.split_points if takes_attention(p, 10))
    split = SplittableNetwork(network, tiny).split(point)
    images = torch.randn(8, *tiny.input_shape[1:], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return point, split, images, split.head(images)


@pytest.fixture
def model(cut):
    point, split, *_ = cut
    return training.build(split, point, 10, seed=0).eval()


def test_head_and_tail_are_the_network_at_every_cut(tiny, network):
    splittable = SplittableNetwork(network, tiny)
    images = torch.randn(3, *tiny.input_shape[1:])
    with torch.no_grad():
        for point in tiny.split_points[1:-1]:
            split = splittable.split(point)
            torch.testing.assert_close(split.tail(split.head(images)), network(images))


def test_training_a_tail_leaves_the_network_alone(cut, network):
    _, split, images, _ = cut
    with torch.no_grad():
        before = network(images)
        for parameter in split.tail.parameters():
            assert parameter.requires_grad
        trained = training.build(split, cut[0], 10, 0)
        for parameter in trained.tail.parameters():
            parameter.add_(1.0)
        torch.testing.assert_close(network(images), before)
    assert not any(parameter.requires_grad for parameter in split.head.parameters())


@pytest.mark.parametrize("xi", XI)
def test_both_sides_see_their_channels_only(model, cut, xi):
    x = cut[3]
    n_sent = torch.full((len(x),), select.sent_count(xi, x.shape[1]))
    with torch.no_grad():
        answer = model(x, n_sent, None)
        kept = answer.kept[:, :, None, None]
        # The scores are the sender's choice, so they are held while the sent channels change.
        scores = model.attention(x)
        edge, _ = model.edge(x + (1 - kept) * 100, scores, answer.kept)
        torch.testing.assert_close(edge, answer.edge)
        torch.testing.assert_close(model.tail(x * (1 - kept)), answer.cloud)
    assert ((1 - answer.kept).sum(1) == n_sent).all()


def test_all_sent_is_classic_split_computing(model, cut, network):
    _, _, images, x = cut
    with torch.no_grad():
        all_sent = model(x, torch.full((8,), x.shape[1]), None)
        torch.testing.assert_close(all_sent.cloud, network(images))
        quantised = model(x, torch.full((8,), x.shape[1]), 8)
        ours = np.stack([select.quantised(one, 8) for one in x.numpy()])
        torch.testing.assert_close(model.tail(torch.from_numpy(ours)), quantised.cloud)


def test_all_kept_is_the_branch_alone(model, cut):
    x = cut[3]
    with torch.no_grad():
        weights = torch.sigmoid(model.attention(x))[:, :, None, None]
        refined = x * weights * model.attention.places(x)
        torch.testing.assert_close(model(x, torch.zeros(8), 8).edge, model.branch(refined)[0])


def test_gradients_reach_every_parameter(model, cut):
    x = cut[3]
    model.train()
    n_sent = torch.tensor([0, 4, 8, 12, 16, 20, 22, 24])
    answer = model(x, n_sent, 4)
    training.objective(answer, n_sent / 24, torch.arange(8), torch.randn(8, 10)).backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert without == []


def test_the_choice_itself_is_learned(model, cut):
    """With the refinement's path cut, the scores still get a gradient through the mask."""
    x = cut[3]
    scores = torch.rand(8, 24, requires_grad=True)
    kept = modules.kept_mask(scores, torch.full((8,), 12))
    gate = kept + modules._soft_rank(scores, kept)
    torch.testing.assert_close(gate.detach(), kept)
    model.edge(x, scores.detach(), gate)[0].sum().backward()
    assert scores.grad.abs().sum() > 0


def test_a_branch_stays_within_its_share_of_the_tail(tiny, model, cut):
    point = cut[0]
    flops = modules.branch_flops(model.shape, model.width, model.classes, model.stride)
    assert flops <= modules.MAX_BRANCH_SHARE * point.tail.flops
    assert not takes_attention(tiny.split_points[0], 10)
    assert not takes_attention(tiny.split_points[-1], 10)


def _learnable(n: int, shape: tuple[int, ...], seed: int) -> training.Features:
    """Ten classes, each a channel that is brighter than the others."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (n,), generator=generator)
    x = torch.rand(n, *shape, generator=generator)
    x[torch.arange(n), labels] += 4
    return training.Features(x.half(), 6 * torch.nn.functional.one_hot(labels, 10).float(), labels)


@pytest.fixture(scope="module")
def trained():
    """A small cut with a linear tail, and the losses of its training."""
    tail = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(24 * 16, 10))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = modules.AttentionSplit(tail, SMALL, 10, width=16, stride=1)
    losses = training.train(model, _learnable(8192, SMALL, 0), epochs=6, seed=0)
    return model, losses


def test_training_learns(trained):
    model, losses = trained
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    data = _learnable(500, SMALL, 1)
    for xi in (0.0, 0.5, 1.0):
        logits = evaluation.answers(model, data, xi, 4)
        weight = evaluation.choose_edge_weight(logits, xi)
        assert evaluation.right(logits, weight).mean() > 0.6


def test_training_repeats_itself(cut):
    point, split, *_ = cut
    data = _learnable(512, point.shapes[0][1:], 0)
    losses = [
        training.train(training.build(split, point, 10, 0), data, epochs=1, seed=0)
        for _ in range(2)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("ranking", training.RANKINGS)
def test_every_ranking_sends_as_many_channels(model, cut, ranking):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(cut[3].shape, generator=generator)
    order_by = training.importance(x, ranking, generator, seed=3)
    answer = model(x, torch.full((8,), 9), 8, order_by)
    assert (answer.kept.sum(1) == x.shape[1] - 9).all()
    rows_differ = bool((answer.kept != answer.kept[0]).any())
    assert rows_differ == (ranking in ("magnitude", "random")) or ranking == "attention"


def test_at_the_ends_nothing_is_chosen():
    right = np.eye(10, dtype=np.float32)
    logits = evaluation.Logits(-right, right, np.zeros(10, np.float32), np.arange(10))
    assert evaluation.choose_edge_weight(logits, 0.0) == 1
    assert evaluation.choose_edge_weight(logits, 1.0) == 0
    assert evaluation.choose_edge_weight(logits, 0.3) < 0.5


def test_onnx_on_a_board_equals_torch(tmp_path, trained, cut):
    model, _ = trained
    point = replace(cut[0], shapes=((1, *SMALL),))
    x = _learnable(1, SMALL, 2).tensor.float()
    export(model, folder_of(tmp_path, point.name))
    runtime = AttentionRuntime(tmp_path, point)
    for xi in XI:
        for bits in select.BITS:
            with torch.no_grad():
                n_sent = torch.full((1,), select.sent_count(xi, x.shape[1]))
                expected = model(x[:1], n_sent, bits)
            found = runtime.edge(x[:1].numpy(), xi)
            assert found.kept.tolist() == expected.kept[0].bool().tolist()
            np.testing.assert_allclose(found.logits, expected.edge.numpy(), atol=1e-3)
            assert found.trust == pytest.approx(float(expected.appeal), abs=1e-3)
            both = runtime.both(x[:1].numpy(), xi, bits, 0.25)
            fused = select.fused(expected.edge.numpy(), expected.cloud.numpy(), 0.25)
            alone = expected.edge.numpy()
            np.testing.assert_allclose(both, alone if xi < 0.03 else fused, atol=1e-3)


def test_a_board_ranks_channels_as_torch_does_however_sure_attention_is(tmp_path, trained, cut):
    model = copy.deepcopy(trained[0])
    with torch.no_grad():
        model.attention.mlp[2].weight.mul_(50)
        model.attention.mlp[2].bias.mul_(50)  # sigmoids that round to 0 and 1
    point = replace(cut[0], shapes=((1, *SMALL),))
    export(model, folder_of(tmp_path, point.name))
    runtime = AttentionRuntime(tmp_path, point)
    for x in _learnable(50, SMALL, 2).tensor.float()[:, None]:
        with torch.no_grad():
            expected = model(x, torch.full((1,), 12), 4).kept[0].bool()
        assert runtime.edge(x.numpy(), 0.5).kept.tolist() == expected.tolist()


def test_a_cut_that_was_not_trained_is_named(tmp_path, cut):
    with pytest.raises(ModelFolderError, match=r"run python -m partition\.train_attention"):
        AttentionRuntime(tmp_path, cut[0])


def test_a_broken_graph_is_told(tmp_path, cut):
    folder = folder_of(tmp_path, cut[0].name)
    folder.mkdir(parents=True)
    (folder / "scores.onnx").write_bytes(b"garbage")
    with pytest.raises(PartitionError, match=r"scores\.onnx does not load"):
        AttentionRuntime(tmp_path, cut[0]).edge(cut[3][:1].numpy(), 0.5)
