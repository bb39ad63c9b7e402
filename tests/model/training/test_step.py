"""One training step: which losses it adds up, what they are computed from, and what is trained at which rate."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from toco.model.method.cams import (
    gate,
    label_with_ignore,
    mix_foreground,
    multi_scale_cams,
    normalise_cams,
    region_mask,
)
from toco.model.method.network import ToCoNetwork, normalise_images
from toco.model.method.refined_label import refined_label
from toco.model.spec import IMAGENET_MEAN, IMAGENET_STD
from toco.model.training.crops import local_crops, with_global_flags
from toco.model.training.data import vocabulary_of
from toco.model.training.energy import dense_energy_loss
from toco.model.training.losses import (
    class_token_contrast,
    classification_loss,
    patch_token_contrast,
    segmentation_loss,
)
from toco.model.training.step import Batch, Trainee, autocast, parameter_groups
from toco.model.training.trainer import initial_spec


@pytest.fixture
def trainee_of(tiny_config):
    def make(**changes) -> Trainee:
        config = tiny_config(**changes)
        torch.manual_seed(0)
        trainee = Trainee(ToCoNetwork.from_spec(initial_spec(config)), config)
        with torch.no_grad():  # fresh classifiers give maps too flat for every label to occur
            trainee.network.classifier.weight.mul_(10)
            trainee.network.aux_classifier.weight.mul_(10)
        return trainee

    return make


@pytest.fixture
def batch():
    coarse = F.interpolate(torch.rand(3, 3, 5, 5), size=(64, 64), mode="bilinear")
    image = (255 * coarse).to(torch.uint8)
    box = torch.tensor([[0, 64, 0, 64], [10, 64, 0, 64], [0, 64, 0, 40]])
    tags = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]])
    views = torch.stack([image.flip(-1), image.flip(-2), image], dim=1)
    none = image[:, :0]
    return Batch(image=image, box=box, tags=tags, known=torch.ones(3, 4), saliency=none, targets=none, views=views)


def run(trainee, batch, progress=0.5, seed=7):
    return trainee(batch, progress, np.random.default_rng(seed))


def normalised(pixels):
    return normalise_images(pixels, IMAGENET_MEAN, IMAGENET_STD)


def test_the_total_is_the_weighted_sum_of_all_losses(trainee_of, batch, close):
    weights = {"classification": 1.5, "auxiliary": 0.5, "ptc": 0.3, "ctc": 0.7, "segmentation": 0.2, "energy": 0.4}
    losses = run(trainee_of(loss=weights), batch)
    names = {"classification": "cls", "auxiliary": "cls_aux", "ptc": "ptc", "ctc": "ctc", "segmentation": "seg"}
    names["energy"] = "energy"
    assert losses.parts.keys() == set(names.values())
    close(losses.total, sum(weight * losses.parts[names[name]].item() for name, weight in weights.items()))


def test_every_loss_is_computed_as_the_paper_says(trainee_of, batch, close):
    """The step against its parts, put together by hand from the published description."""
    trainee = trainee_of(contrast={"local_crops": 4, "negative_below": 0.9}, loss={"energy": 0.05})
    network, config = trainee.network, trainee.config
    losses = run(trainee, batch)
    images = normalised(batch.image)

    with torch.no_grad():
        classified, decoded = network(images)
        cam, aux = multi_scale_cams(lambda x: network(x)[0][2:4], images)
        close(losses.parts["cls"], classification_loss(classified.logits, batch.tags))
        close(losses.parts["cls_aux"], classification_loss(classified.aux_logits, batch.tags))

        small = F.interpolate(aux, size=(4, 4), mode="bilinear", align_corners=False)
        boxes = torch.tensor([[0, 4, 0, 4], [1, 4, 0, 4], [0, 4, 0, 3]])  # rounded to whole patches of 16
        labels = label_with_ignore(small, batch.tags, boxes=boxes)
        close(losses.parts["ptc"], patch_token_contrast(classified.patches, labels))

        regions = region_mask(gate(aux, batch.tags).amax(dim=1))
        crops, flags = local_crops(normalised(batch.views[:, 2]), regions, config.contrast, np.random.default_rng(7))
        assert set(flags.flatten().tolist()) == {0.0, 1.0}
        views = [network.encoder(normalised(batch.views[:, k])).class_token for k in (0, 1)]
        tokens = torch.cat([*views, network.encoder(crops).class_token])
        student, teacher = trainee.contrast.student(tokens), trainee.contrast.teacher(torch.cat(views))
        close(losses.parts["ctc"], class_token_contrast(student, teacher, with_global_flags(flags, 2)))

        refined = refined_label(batch.image / 255.0, cam, batch.tags, boxes=batch.box)
        logits = F.interpolate(decoded, size=(64, 64), mode="bilinear", align_corners=False)
        close(losses.parts["seg"], segmentation_loss(logits, refined))
        close(losses.parts["energy"], dense_energy_loss(batch.image, logits, refined, batch.box))
    assert losses.parts["ptc"].item() != 0.5  # some pair of tokens was labelled


def test_contrast_can_use_the_input_as_its_one_global_view(trainee_of, batch, close):
    trainee = trainee_of(contrast={"extra_views": False})
    batch = batch._replace(views=batch.views[:, :0])
    losses = run(trainee, batch)
    images = normalised(batch.image)
    with torch.no_grad():
        network = trainee.network
        _, aux = trainee.cams(images, trainee.encode(images))
        regions = region_mask(gate(aux, batch.tags).amax(dim=1))
        crops, flags = local_crops(images, regions, trainee.config.contrast, np.random.default_rng(7))
        whole = network.encoder(images).class_token
        student = trainee.contrast.student(torch.cat([whole, network.encoder(crops).class_token]))
        wanted = class_token_contrast(student, trainee.contrast.teacher(whole), with_global_flags(flags, 1))
    close(losses.parts["ctc"], wanted)


def test_one_scale_without_mirroring_reuses_the_forward_pass(trainee_of, batch, close):
    trainee = trainee_of(cam={"scales": [1.0], "flip": False}, loss={"ctc": 0.0})
    passes = []
    trainee.network.encoder.vit.patch_embed.proj.register_forward_hook(lambda *_: passes.append(1))
    losses = run(trainee, batch)
    assert len(passes) == 1
    assert losses.total.isfinite()
    output = trainee.encode(normalised(batch.image))
    cam, aux = trainee.cams(normalised(batch.image), output)
    assert not cam.requires_grad
    close(cam, normalise_cams(output.cam.detach().clamp_min(0)))
    close(aux, normalise_cams(output.aux_cam.detach().clamp_min(0)))


def test_the_decoder_waits_for_its_share_of_the_schedule(trainee_of, batch):
    trainee = trainee_of()
    assert "seg" not in run(trainee, batch, progress=0.0999).parts
    assert "seg" in run(trainee, batch, progress=0.1).parts


def test_the_contrast_of_class_tokens_can_wait_too(trainee_of, batch, close):
    trainee = trainee_of(loss={"contrast_start": 0.5, "segmentation": 0.0})
    early, late = run(trainee, batch, progress=0.4), run(trainee, batch, progress=0.5)
    close(late.total - early.total, 0.5 * late.parts["ctc"].detach())


@pytest.mark.parametrize(("weight", "name"), [("ptc", "ptc"), ("ctc", "ctc"), ("segmentation", "seg")])
def test_a_loss_of_weight_zero_is_not_computed(weight, name, trainee_of, batch):
    assert name not in run(trainee_of(loss={weight: 0.0}), batch).parts


def test_smaller_labels_give_the_decoder_a_loss_of_their_size(trainee_of, batch, close):
    trainee = trainee_of(cam={"scales": [1.0], "flip": False, "label_downscale": 4, "refine_downscale": 1})
    losses = run(trainee, batch)
    with torch.no_grad():
        output = trainee.encode(normalised(batch.image))
        cam, _ = trainee.cams(normalised(batch.image), output)
        small = F.interpolate(batch.image / 255.0, size=(16, 16), mode="bilinear", align_corners=False)
        boxes = torch.tensor([[0, 16, 0, 16], [2, 16, 0, 16], [0, 16, 0, 10]])
        labels = refined_label(small, cam, batch.tags, boxes=boxes, downscale=1)
        logits = F.interpolate(
            trainee.network.decoder(output.patches), size=(16, 16), mode="bilinear", align_corners=False
        )
        close(losses.parts["seg"], segmentation_loss(logits, labels))


@pytest.mark.parametrize(("progress", "by_decoder"), [(0.4, False), (0.5, True)])
def test_salient_pixels_fall_to_tags_by_cams_first_and_by_the_decoder_later(
    progress, by_decoder, trainee_of, batch, close
):
    trainee = trainee_of(
        cam={"scales": (1.0,), "flip": False}, saliency={"weight": 0.8, "decoder_start": 0.5}, loss={"energy": 0.0}
    )
    cue = torch.rand(3, 1, 64, 64)
    batch = batch._replace(saliency=(255 * cue).to(torch.uint8))
    losses = run(trainee, batch, progress)
    with torch.no_grad():
        classified, decoded = trainee.network(normalised(batch.image))
        cams = normalise_cams(F.relu(classified.cam))
        evidence = decoded.softmax(dim=1)[:, 1:] if by_decoder else None
        maps = mix_foreground(cams, batch.tags, batch.saliency / 255.0, 0.8, evidence=evidence)
        expected = trainee._decoder_losses(decoded, maps, batch)["seg"]
    close(losses.parts["seg"], expected)


def test_unknown_classes_train_neither_classifier(trainee_of, batch):
    trainee = trainee_of(loss={"ptc": 0.0, "ctc": 0.0, "segmentation": 0.0})
    known = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    run(trainee, batch._replace(known=known)).total.backward()
    for head in (trainee.network.classifier, trainee.network.aux_classifier):
        rows = head.weight.grad.abs().sum(dim=(1, 2, 3))
        assert (rows > 0).tolist() == [True, True, False, True]


def test_every_trained_weight_gets_a_gradient(trainee_of, batch):
    trainee = trainee_of()
    groups = parameter_groups(trainee, trainee.config)
    run(trainee, batch).total.backward()
    names = {id(parameter): name for name, parameter in trainee.named_parameters()}
    idle = [names[id(p)] for group in groups for p in group["params"] if p.grad is None or not p.grad.any()]
    assert idle == []


def test_heads_and_decoder_learn_ten_times_as_fast_as_the_encoder(trainee_of):
    trainee = trainee_of()
    encoder, others = parameter_groups(trainee, trainee.config)
    assert (encoder["lr"], others["lr"]) == (1e-3, pytest.approx(1e-2))
    names = {id(parameter): name for name, parameter in trainee.named_parameters()}
    assert all(names[id(p)].startswith("network.encoder.") for p in encoder["params"])
    outside = {names[id(p)].split(".")[1] for p in others["params"]}
    assert outside == {"classifier", "aux_classifier", "decoder", "student"}
    trained = {names[id(p)] for group in (encoder, others) for p in group["params"]}
    left_out = set(names.values()) - trained
    assert "network.encoder.vit.pos_embed" in left_out
    assert all(name.endswith(("pos_embed", "original0")) or ".teacher." in name for name in left_out)


def test_frozen_blocks_give_the_same_output_and_no_gradient(trainee_of, batch, close):
    free, frozen = trainee_of(), trainee_of(backbone={"frozen_blocks": 2})
    frozen.load_state_dict(free.state_dict())
    for one, other in zip(free.encode(normalised(batch.image)), frozen.encode(normalised(batch.image)), strict=True):
        close(one, other.detach())
    parameter_groups(frozen, frozen.config)
    run(frozen, batch).total.backward()
    vit = frozen.network.encoder.vit
    still = [vit.patch_embed, *vit.blocks[:2]]
    assert not any(p.requires_grad for part in still for p in part.parameters())
    assert not vit.cls_token.requires_grad
    assert all(p.grad is not None for p in vit.blocks[2].parameters())


def test_autocast_is_on_where_a_precision_is_given():
    with autocast(torch.device("cpu"), None):
        assert not torch.is_autocast_enabled("cpu")
    with autocast(torch.device("cpu"), torch.bfloat16):
        assert torch.is_autocast_enabled("cpu")


def test_the_vocabulary_gives_the_network_its_size(trainee_of, tiny_config):
    assert trainee_of().network.classes == len(vocabulary_of(tiny_config())) == 4


# Soft labels


def test_soft_labels_take_the_place_of_refined_cams(trainee_of, batch, close):
    trainee = trainee_of(loss={"ptc": 0.3, "segmentation": 2.0, "segmentation_start": 0.9}, soft_labels={"own": 0.0})
    targets = torch.zeros(3, 5, 16, 16, dtype=torch.uint8)
    targets[:, 0, 8:], targets[:, 1, :8] = 255, 255
    losses = run(trainee, batch._replace(targets=targets))
    parts = losses.parts
    assert set(parts) == {"cls", "cls_aux", "ptc", "seg"}
    close(
        losses.total, sum(parts[name].item() * weight for name, weight in zip(parts, (1.0, 1.0, 0.3, 2.0), strict=True))
    )
    losses.total.backward()
    assert float(trainee.network.decoder.conv6.weight.grad.abs().max()) > 0


def test_soft_labels_teach_cams_where_that_is_asked_for(trainee_of, batch, close):
    trainee = trainee_of(loss={"cam": 0.7}, soft_labels={"own": 0.0})
    targets = torch.zeros(3, 5, 16, 16, dtype=torch.uint8)
    targets[:, 0, 8:], targets[:, 1, :8] = 255, 255
    taught = run(trainee, batch._replace(targets=targets))
    plain = run(trainee_of(soft_labels={"own": 0.0}), batch._replace(targets=targets))
    assert set(taught.parts) - set(plain.parts) == {"cam"}
    close(taught.total - plain.total, 0.7 * taught.parts["cam"].item())


def test_tokens_of_doubtful_labels_have_no_part_in_the_contrast(trainee_of, batch, close):
    trainee = trainee_of(soft_labels={"own": 0.0})
    doubtful = torch.full((3, 5, 16, 16), 51, dtype=torch.uint8)
    close(run(trainee, batch._replace(targets=doubtful)).parts["ptc"], 0.5)
