"""Label Studio's labelling config, and how its labels and a model's classes go together."""

import pytest

from toco.model.formats.label_studio import labelling_config
from toco.model.photos.classes import VOC
from toco.service.label_studio.labelling_config import InvalidLabellingConfig, parse_labelling_config

CONFIG = """
<View>
  <Header value="What is on it?"/>
  <Image name="photo" value="$url"/>
  <Choices name="tags" toName="photo"><Choice value="Katze" predicted_values="cat"/><Choice value="dog"/></Choices>
  <BrushLabels name="mask" toName="photo">
    <Label value="Vehicle" alias="v" predicted_values="car, bus,spaceship"/>
    <Label value="Puppy"/>
    <Label value="Bus"/>
    <Label value="sky"/>
  </BrushLabels>
  <RectangleLabels name="box" toName="photo,other"><Label value="person"/></RectangleLabels>
  <PolygonLabels name="elsewhere" toName="other"><Label value="person"/></PolygonLabels>
  <EllipseLabels name="ellipse" toName="photo"><Label value="person"/></EllipseLabels>
</View>
"""


def test_a_config_names_its_image_and_the_controls_that_draw_on_it():
    config = parse_labelling_config(CONFIG)
    assert (config.image_name, config.image_key) == ("photo", "url")
    assert [(control.kind, control.name) for control in config.controls] == [("brush", "mask"), ("rectangle", "box")]


def test_predicted_values_go_before_what_labels_are_called():
    brush = parse_labelling_config(CONFIG).controls[0]
    assert brush.label_of_class(VOC) == {"bus": "v", "car": "v", "dog": "Puppy"}


@pytest.mark.parametrize(
    ("tag", "classes"),
    [
        ("Katze", ("cat",)),
        ("vehicle", ("car", "bus")),
        ("V", ("car", "bus")),
        ("puppy", ("dog",)),
        ("tv", ("tvmonitor",)),
        ("sky", ("sky",)),
        ("unicorn", ("unicorn",)),
    ],
)
def test_tags_are_understood_by_label_alias_predicted_value_and_synonym(tag, classes):
    assert parse_labelling_config(CONFIG).classes_of_tag(tag, VOC) == classes


def test_the_config_that_we_print_takes_every_class():
    kinds = ("brush", "polygon", "rectangle", "keypoint")
    config = parse_labelling_config(labelling_config(VOC, kinds))
    assert tuple(control.kind for control in config.controls) == kinds
    for control in config.controls:
        assert control.label_of_class(VOC) == {name: name for name in VOC.names}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<View>",
        "<View/>",
        '<View><Image name="a" value="https://x/y.jpg"/></View>',
        '<View><Text name="t" value="$text"/></View>',
        "<View/>" + " " * 1_000_001,
        '<!DOCTYPE v [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><View>&b;</View>',
    ],
)
def test_what_is_no_config_is_refused(text):
    with pytest.raises(InvalidLabellingConfig):
        parse_labelling_config(text)
