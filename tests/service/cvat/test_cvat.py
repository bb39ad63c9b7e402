"""CVAT: the function file under cvat-sdk's own loader rules and validators, and the detector over HTTP."""

import base64
import importlib.util
import io
import logging
from pathlib import Path

import cvat_sdk.auto_annotation as cvataa
import cvat_sdk.masks
import numpy as np
import pycocotools.mask
import pytest
from cvat_sdk import models
from cvat_sdk.auto_annotation.driver import _AnnotationMapper, _DetectionFunctionContextImpl
from PIL import Image

from toco.model.formats.rle import encode_rle
from toco.model.photos.classes import VOC
from toco.model.photos.images import read_mask
from toco.model.photos.tables.reading import parse_table
from toco.model.photos.tags import TaggedImage, TagTable
from toco.service.cvat import function as cvat_function
from toco.service.cvat.function import Labelled, TagToMask, create

# pycocotools 2.0.11 decodes by an array protocol that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CAT, DOG = 8, 12
CONTEXT = _DetectionFunctionContextImpl(frame_name="farm/a.jpg")


def validated(function, shapes, *, polygons=False, labels=VOC.names):
    """What cvat-sdk's driver makes of a function's output for a task with labels of its own ids."""
    ours = [
        models.Label(id=100 + n, name=name, type="any", attributes=[], sublabels=[]) for n, name in enumerate(labels)
    ]
    mapper = _AnnotationMapper(
        logging.getLogger("test"), function.spec.labels, ours, allow_unmatched_labels=True, conv_mask_to_poly=polygons
    )
    tags, found = mapper.validate_and_remap(shapes, ds_frame=3)
    assert tags == []
    assert all(shape.frame == 3 and shape.source == "auto" for shape in found)
    return {labels[shape.label_id - 100]: shape for shape in found}


@pytest.fixture
def mask():
    mask = np.zeros((30, 40), np.uint8)
    mask[4:20, 6:30] = CAT
    mask[8:12, 10:20] = DOG
    mask[25:, 35:] = 255
    return mask


@pytest.fixture
def asked():
    return []


@pytest.fixture
def function(labelled, mask, asked):
    """The function with a labeller that always gives one label, and writes down what it is asked."""

    def label_frame(frame, tags, threshold):
        asked.append((frame.mode, frame.size, tags, threshold))
        item = labelled(mask, tag_source="user" if tags else "model", scores={"cat": 0.9, "dog": 0.4})
        return Labelled(item.pseudo_mask, item.result)

    table = TagTable([("a.jpg", TaggedImage(("cat", "dog"))), ("empty.jpg", TaggedImage(()))])
    return TagToMask(VOC, label_frame, table)


FRAME = Image.new("RGBA", (40, 30))


def test_the_spec_fits_the_sdk(function):
    assert isinstance(function.spec, cvataa.DetectionFunctionSpec)
    assert [label.name for label in function.spec.labels] == list(VOC.names)
    assert len({label.id for label in function.spec.labels}) == len(VOC)


def test_masks_pass_the_sdks_driver_and_decode_to_the_very_pixels(function, mask, asked):
    found = validated(function, function.detect(CONTEXT, FRAME))
    assert found.keys() == {"cat", "dog"}
    for name, index in (("cat", CAT), ("dog", DOG)):
        decoded = cvat_sdk.masks.decode_mask(found[name].points, image_width=40, image_height=30)
        assert np.array_equal(decoded, mask == index)
    assert found["cat"].score == pytest.approx(0.9)
    assert asked == [("RGB", (40, 30), ("cat", "dog"), 0.5)]


def test_labels_that_the_task_lacks_are_dropped_by_the_driver(function):
    assert validated(function, function.detect(CONTEXT, FRAME), labels=("cat",)).keys() == {"cat"}


def test_polygons_come_where_masks_are_not_taken(function, mask):
    context = _DetectionFunctionContextImpl(frame_name="a.jpg", conv_mask_to_poly=True)
    found = validated(function, function.detect(context, FRAME), polygons=True)
    for name, index in (("cat", CAT), ("dog", DOG)):
        assert found[name].type.value == "polygon"
        drawn = pycocotools.mask.decode(pycocotools.mask.frPyObjects([found[name].points], 30, 40)[0])
        assert (drawn.astype(bool) == (mask == index)).mean() > 0.97


def test_confidence_is_the_score_of_the_mask_or_the_classifiers_probability(function, asked):
    least = _DetectionFunctionContextImpl(frame_name="a.jpg", conf_threshold=0.5)
    assert validated(function, function.detect(least, FRAME)).keys() == {"cat"}
    untagged = _DetectionFunctionContextImpl(frame_name="other.jpg", conf_threshold=0.6)
    found = validated(function, function.detect(untagged, FRAME))
    assert {shape.score for shape in found.values()} == {0.7}
    assert asked[-1][2:] == (None, 0.6)
    everything = _DetectionFunctionContextImpl(frame_name="other.jpg", conf_threshold=0.0)
    assert validated(function, function.detect(everything, FRAME)).keys() == {"cat", "dog"}
    assert 0 < asked[-1][3] < 1


def test_frames_that_somebody_tagged_with_nothing_stay_empty(function, asked):
    assert function.detect(_DetectionFunctionContextImpl(frame_name="empty.jpg"), FRAME) == []
    assert asked == []


def test_the_file_loads_by_path_as_cvat_cli_loads_it(tiny_model, tmp_path, jpeg):
    spec = importlib.util.spec_from_file_location("__cvat_function__", Path(cvat_function.__file__))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # not in sys.modules, as there
    tags = tmp_path / "tags.csv"
    tags.write_text("image,tags\na.jpg,cat;dog;unicorn\n")
    function = module.create(model=str(tiny_model), preset="fast", tags=str(tags), device="cpu")
    image = Image.open(io.BytesIO(jpeg(3)))
    found = validated(function, function.detect(_DetectionFunctionContextImpl(frame_name="a.jpg"), image))
    assert found.keys() <= {"cat", "dog"}


@pytest.fixture
def remote(live):
    function = create(url=live.url, preset="fast")
    yield function
    function.close()


def test_a_running_service_labels_the_frames(remote, client, jpeg):
    function = remote
    assert [label.name for label in function.spec.labels] == ["cat", "dog", "horse", "person"]
    function = TagToMask(VOC, function._label_frame, parse_table(b"image,tags\na.png,cat;dog\n").table)
    image = Image.open(io.BytesIO(jpeg(4, kind="PNG")))
    found = validated(function, function.detect(_DetectionFunctionContextImpl(frame_name="a.png"), image))
    job = next(iter(client.jobs()))
    mask = read_mask(client.artifact(job["id"], "000000", "pseudo_mask.png"))
    for name, shape in found.items():
        decoded = cvat_sdk.masks.decode_mask(shape.points, image_width=64, image_height=48)
        assert np.array_equal(decoded, mask == VOC.classes[VOC.channel(name)].index)


# Over HTTP, as a Nuclio function


def test_the_detector_answers_with_masks_as_cvat_reads_them(http, client, jpeg):
    body = {"image": base64.b64encode(jpeg(5)).decode(), "tags": ["cat", "horse"]}
    answer = http.post("/cvat/nuclio", json=body)
    assert answer.status_code == 200, answer.text
    job = next(iter(client.jobs()))
    mask = read_mask(client.artifact(job["id"], "000000", "pseudo_mask.png"))
    shapes = answer.json()
    assert {shape["label"] for shape in shapes} == {VOC.name_of_index[i] for i in np.unique(mask) if i not in (0, 255)}
    for shape in shapes:
        assert shape["type"] == "mask"
        assert 0 <= float(shape["confidence"]) <= 1
        *bits, left, top, right, bottom = shape["mask"]
        full = np.zeros(mask.shape, bool)
        full[top : bottom + 1, left : right + 1] = np.array(bits, bool).reshape(bottom - top + 1, right - left + 1)
        assert np.array_equal(full, mask == VOC.classes[VOC.channel(shape["label"])].index)
        assert len(shape["points"]) >= 6
        assert encode_rle(full)["size"] == [48, 64]


def test_without_tags_the_threshold_chooses_the_classes(http, jpeg):
    image = base64.b64encode(jpeg(6)).decode()
    everything = http.post("/cvat/nuclio", json={"image": image, "threshold": 0.001}).json()
    nothing = http.post("/cvat/nuclio", json={"image": image, "threshold": 0.999}).json()
    assert nothing == []
    assert everything
    assert all(float(shape["confidence"]) >= 0.001 for shape in everything)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"image": "@"}, 422),
        ({"image": "aGVsbG8="}, 415),
        ({"image": "", "threshold": 2}, 422),
        ({"image": base64.b64encode(b"\xff\xd8\xff\xe0 and no more").decode()}, 422),
    ],
)
def test_what_is_no_photo_is_refused(http, body, status):
    assert http.post("/cvat/nuclio", json=body).status_code == status
