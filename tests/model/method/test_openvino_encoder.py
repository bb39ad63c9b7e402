"""The exported encoder gives the encoder's own tokens, at any size of photo, from many threads at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from toco.model.errors import InvalidArray
from toco.model.method.backbone import Encoder

pytest.importorskip("openvino")

from toco.model.method import encoder_graph, openvino_encoder

SHAPES = {
    "class token": ("vit_tiny_patch16_224", {}),
    "registers without a position": (
        "vit_tiny_patch16_224", {"reg_tokens": 2, "no_embed_class": True, "init_values": 0.1},
    ),
    "norms of queries and keys": ("vit_tiny_patch16_224", {"qk_norm": True}),
}  # fmt: skip


def opened(folder, *, bfloat16=False, threads=2):
    return openvino_encoder.OpenVinoEncoder(encoder_graph.EncoderGraph(folder, bfloat16=bfloat16, threads=threads))


@pytest.fixture(scope="module", params=sorted(SHAPES))
def encoders(request, tmp_path_factory):
    name, arguments = SHAPES[request.param]
    sizes = {"embed_dim": 24, "depth": 4, "num_heads": 2, "mlp_ratio": 2.0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Encoder(name, image_size=80, arguments=sizes | arguments).eval()
    folder = tmp_path_factory.mktemp("exported") / "whole"
    openvino_encoder.export_encoder(encoder, folder)
    return encoder, folder


@pytest.mark.parametrize("size", [(80, 80), (64, 64), (48, 100), (16, 16)])
def test_its_tokens_are_those_of_the_encoder(size, encoders, close):
    encoder, folder = encoders
    exported = opened(folder)
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        for found, expected in zip(exported(images), encoder(images), strict=True):
            assert found.dtype == torch.float32
            close(found, expected)
    assert (exported.width, exported.patch_size) == (encoder.width, encoder.patch_size)


def test_photos_side_by_side_do_not_mix(encoders, close):
    encoder, folder = encoders
    exported = opened(folder)
    photos = [torch.randn(1, 3, 16 * (1 + number % 4), 48) for number in range(24)]
    with torch.inference_mode():
        expected = [encoder(photo).patches for photo in photos]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda photo: exported(photo).patches, photos))
    for one, other in zip(found, expected, strict=True):
        close(one, other)


def test_an_answer_stays_when_the_next_photo_comes(encoders):
    exported = opened(encoders[1], threads=1)
    first = exported(torch.ones(1, 3, 32, 32)).patches
    kept = first.clone()
    exported(torch.zeros(1, 3, 32, 32))
    assert torch.equal(first, kept)


def test_in_bfloat16_tokens_are_close_and_of_float32(encoders):
    encoder, folder = encoders
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        found = opened(folder, bfloat16=True)(images).patches
        expected = encoder(images).patches
    assert found.dtype == torch.float32
    assert float((found - expected).norm() / expected.norm()) < 0.03


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 8, 64)])
def test_what_is_no_photo_is_refused(shape, encoders):
    exported = opened(encoders[1], threads=1)
    with pytest.raises(InvalidArray, match="shape"):
        exported(torch.zeros(shape))


FIRST_USE = """
import sys
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
from toco.model.method.encoder_graph import EncoderGraph

encoder = EncoderGraph(Path(sys.argv[1]), bfloat16=False, threads=2)
barrier = Barrier(8)
sys.setswitchinterval(1e-6)

def look():
    barrier.wait()
    encoder(np.zeros((1, 3, 32, 32), np.float32), threads=1)

threads = [Thread(target=look) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.slow
def test_threads_that_come_first_together_do_not_wait_for_each_other_for_ever(encoders):
    _, folder = encoders
    for _ in range(3):  # without care it hangs in most processes, not in each
        command = [sys.executable, "-c", FIRST_USE, str(folder)]
        subprocess.run(command, check=True, timeout=300)
