"""Initial weights: timm state dicts as safetensors or .pth, and DINOv2 exports as .onnx, compared by running them."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.torch import save_file

from toco.model.method.backbone import Encoder
from toco.model.training.initial_weights import InitialWeightsError, load_initial_weights

WIDTH, HEADS, GRID, PATCH = 8, 2, 3, 4
DINO = {"patch_size": PATCH, "embed_dim": WIDTH, "depth": 2, "num_heads": HEADS, "mlp_ratio": 2.0}


def encoder(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = Encoder("vit_small_patch14_dinov2", image_size=GRID * PATCH, aux_layer=-1, arguments=DINO)
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return made.eval()


def assert_same_weights(one, other):
    for (name, value), (same, wanted) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        assert name == same
        assert torch.equal(value, wanted), name


# State dicts


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder.", "model.", "backbone.", "vit."])
def test_a_safetensors_file_of_timm_names_fits(prefix, tmp_path):
    trained, fresh = encoder(1), encoder(2)
    state = {f"{prefix}{name}": value for name, value in trained.vit.state_dict().items()}
    save_file(state | {f"{prefix}head.weight": torch.ones(3)}, tmp_path / "w.safetensors")
    load_initial_weights(fresh, str(tmp_path / "w.safetensors"))
    assert_same_weights(fresh, trained)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s, "epoch": 3}])
@pytest.mark.parametrize("suffix", ["pth", "pt"])
def test_a_pth_file_fits_wrapped_or_not(suffix, wrap, tmp_path):
    trained, fresh = encoder(1), encoder(2)
    torch.save(wrap(trained.vit.state_dict()), tmp_path / f"w.{suffix}")
    load_initial_weights(fresh, str(tmp_path / f"w.{suffix}"))
    assert_same_weights(fresh, trained)


def test_a_missing_tensor_is_named(tmp_path):
    state = encoder().vit.state_dict()
    del state["blocks.1.norm1.bias"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InitialWeightsError, match=r"misses 'blocks\.1\.norm1\.bias'"):
        load_initial_weights(encoder(), str(tmp_path / "w.safetensors"))


def test_a_tensor_of_another_shape_is_named_and_nothing_is_loaded(tmp_path):
    state = encoder(1).vit.state_dict()
    state["pos_embed"] = torch.zeros(1, 1 + 16, WIDTH)
    save_file(state, tmp_path / "w.safetensors")
    fresh = encoder(2)
    with pytest.raises(InitialWeightsError, match=r"shape \(1, 17, 8\), not \(1, 10, 8\), for 'pos_embed'") as caught:
        load_initial_weights(fresh, str(tmp_path / "w.safetensors"))
    assert "image size" in caught.value.fix
    assert_same_weights(fresh, encoder(2))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InitialWeightsError, match=r"No weights file .*gone\.pth"):
        load_initial_weights(encoder(), str(tmp_path / "gone.pth"))


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "w.h5").write_bytes(b"x")
    with pytest.raises(InitialWeightsError, match=r"kind '\.h5'"):
        load_initial_weights(encoder(), str(tmp_path / "w.h5"))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.onnx"])
@pytest.mark.parametrize("content", [b"", b"neither of these", b"\x80\x04nothing"])
def test_a_damaged_file_is_named(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InitialWeightsError) as caught:
        load_initial_weights(encoder(), str(tmp_path / name))
    assert name in caught.value.detail
    assert caught.value.fix


class Evil:
    """Unpickling this runs code."""

    def __reduce__(self):
        return (Path.write_text, (Path("owned"), ""))


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_file_is_never_run(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write({"weight": Evil()}, tmp_path / "w.pth")
    with pytest.raises(InitialWeightsError, match="more than tensors"):
        load_initial_weights(encoder(), str(tmp_path / "w.pth"))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [[torch.ones(1)], {"epoch": 3}, {"model": {"a": 1}}])
def test_a_file_that_holds_something_else_is_no_state_dict(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InitialWeightsError, match="not a state dict"):
        load_initial_weights(encoder(), str(tmp_path / "w.pth"))


# ONNX


class Export:
    """Builds the graph that exporting a Hugging Face `Dinov2Model` gives, with its names, and random weights."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.anonymous = [], {}, 2001

    def weight(self, name, *shape):
        self.weights[name] = (0.4 * self.rng.standard_normal(shape)).astype(np.float32)
        return name

    def constant(self, name, values):
        self.weights[name] = np.array(values, np.int64)
        return name

    def node(self, kind, *inputs, **attributes):
        output = f"/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def linear(self, value, name, inside, outside):
        """A matrix product with an anonymous transposed weight, then the named bias."""
        matrix = self.weight(f"onnx::MatMul_{self.anonymous}", inside, outside)
        self.anonymous += 7
        bias = self.weight(f"{name}.bias", outside)
        product = self.node("MatMul", value, matrix)
        return self.node("Add", *((bias, product) if self.anonymous % 2 else (product, bias)))

    def norm(self, value, name):
        weight, bias = self.weight(f"{name}.weight", WIDTH), self.weight(f"{name}.bias", WIDTH)
        return self.node("LayerNormalization", value, weight, bias, epsilon=1e-6, axis=-1)

    def attention(self, value, name):
        heads = self.constant("heads", [1, -1, HEADS, WIDTH // HEADS])
        query, key, value = (
            self.node("Reshape", self.linear(value, f"{name}.attention.{part}", WIDTH, WIDTH), heads)
            for part in ("query", "key", "value")
        )
        query, value = (self.node("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))
        key = self.node("Transpose", key, perm=[0, 2, 3, 1])
        self.weights["scale"] = np.float32((WIDTH // HEADS) ** 0.5).reshape(())
        scores = self.node("Div", self.node("MatMul", query, key), "scale")
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), value)
        joined = self.node("Transpose", mixed, perm=[0, 2, 1, 3])
        flat = self.node("Reshape", joined, self.constant("flat", [1, -1, WIDTH]))
        return self.linear(flat, f"{name}.output.dense", WIDTH, WIDTH)

    def block(self, value, name):
        branch = self.attention(self.norm(value, f"{name}.norm1"), f"{name}.attention")
        value = self.node("Add", self.node("Mul", branch, self.weight(f"{name}.layer_scale1.lambda1", WIDTH)), value)
        hidden = self.linear(self.norm(value, f"{name}.norm2"), f"{name}.mlp.fc1", WIDTH, 2 * WIDTH)
        branch = self.linear(self.node("Gelu", hidden), f"{name}.mlp.fc2", 2 * WIDTH, WIDTH)
        return self.node("Add", self.node("Mul", branch, self.weight(f"{name}.layer_scale2.lambda1", WIDTH)), value)

    def save(self, path):
        name = "backbone.embeddings"
        kernel = self.weight(f"{name}.patch_embeddings.projection.weight", WIDTH, 3, PATCH, PATCH)
        bias = self.weight(f"{name}.patch_embeddings.projection.bias", WIDTH)
        patches = self.node("Conv", "image", kernel, bias, kernel_shape=[PATCH] * 2, strides=[PATCH] * 2)
        patches = self.node("Reshape", patches, self.constant("patches", [1, WIDTH, -1]))
        patches = self.node("Transpose", patches, perm=[0, 2, 1])
        tokens = self.node("Concat", self.weight(f"{name}.cls_token", 1, 1, WIDTH), patches, axis=1)
        grid = self.weight("onnx::Reshape_1962", 1, GRID * GRID, WIDTH)
        positions = self.node("Concat", self.weight("onnx::Concat_1957", 1, 1, WIDTH), grid, axis=1)
        value = self.node("Add", tokens, positions)
        for layer in range(2):
            value = self.block(value, f"backbone.encoder.layer.{layer}")
        self.nodes.append(helper.make_node("Identity", [self.norm(value, "backbone.layernorm")], ["tokens"]))
        graph = helper.make_graph(
            self.nodes,
            "dinov2",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, GRID * PATCH, GRID * PATCH])],
            [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), str(path))
        return path


@torch.no_grad()
def test_an_onnx_export_of_dinov2_gives_the_tokens_of_its_own_graph(tmp_path, close):
    path = Export().save(tmp_path / "dinov2.onnx")
    image = np.random.default_rng(1).standard_normal((1, 3, GRID * PATCH, GRID * PATCH)).astype(np.float32)
    (tokens,) = ReferenceEvaluator(str(path)).run(None, {"image": image})

    fresh = encoder(3)
    load_initial_weights(fresh, str(path))
    found = fresh(torch.from_numpy(image))
    close(found.class_token, tokens[:, 0])
    close(found.patches.flatten(2), tokens[:, 1:].transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda weights: weights.pop("backbone.encoder.layer.1.layer_scale2.lambda1"), r"layer\.1\.layer_scale2"),
        (lambda weights: weights.pop("backbone.embeddings.cls_token"), "cls_token"),
        (lambda weights: weights.pop("onnx::Reshape_1962"), "0 position grids"),
        (lambda weights: weights.pop("onnx::Concat_1957"), "0 class positions"),
        (lambda weights: weights.update({"onnx::Reshape_9": weights["onnx::Reshape_1962"]}), "2 position grids"),
        (lambda weights: weights.clear(), "no tensor ending in"),
    ],
)
def test_an_onnx_file_that_is_no_such_export_is_refused(spoil, message, tmp_path):
    export = Export()
    export.save(tmp_path / "whole.onnx")
    spoil(export.weights)
    graph = helper.make_graph(
        export.nodes, "g", [], [], [numpy_helper.from_array(value, name) for name, value in export.weights.items()]
    )
    onnx.save(helper.make_model(graph), str(tmp_path / "bad.onnx"))
    with pytest.raises(InitialWeightsError, match=message) as caught:
        load_initial_weights(encoder(), str(tmp_path / "bad.onnx"))
    assert "Hugging Face DINOv2" in caught.value.fix


def test_an_export_of_another_size_does_not_fit(tmp_path):
    Export().save(tmp_path / "dinov2.onnx")
    larger = Encoder("vit_small_patch14_dinov2", image_size=5 * PATCH, aux_layer=-1, arguments=DINO)
    with pytest.raises(InitialWeightsError, match="pos_embed"):
        load_initial_weights(larger, str(tmp_path / "dinov2.onnx"))
