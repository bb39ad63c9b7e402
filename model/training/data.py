"""Tagged photos for training: sources, known and unknown tags, loading, and a sampler that resumes exactly.

No masks are read here. Training needs none; those that people corrected in the service become soft labels.
"""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypedDict

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from toco.model.errors import TocoError
from toco.model.photos.classes import Vocabulary
from toco.model.photos.collection import find_images
from toco.model.photos.images import read_image
from toco.model.photos.tables.reading import read_tags
from toco.model.photos.tags import TaggedImage, TagTable, tags_from_folders
from toco.model.training.augment import Pixels, random_crop, random_resized_crop, resize_maps, view
from toco.model.training.composition import CutOut, Piece, cut_out, mosaic, paste, seen
from toco.model.training.config import AugmentationConfig, SourceConfig, TrainConfig
from toco.model.training.soft_labels import SoftLabels

SIDE_LIMIT = 1024  # photos are decoded to at most this long side; crops never need more


class NoTrainingData(TocoError):
    """A source gives no photo that can be trained on."""

    code = "no_training_data"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class TrainingPhoto:
    """One photo and what is known of its tags.

    Attributes:
        path: the file.
        tags: (C,) 1 = tagged.
        known: (C,) 1 = presence or absence known; 0 gives no loss.
        mask: a mask that a person made of it, (H, W) uint8: 0 background, 1 + channel, 255 open. Only soft labels are
            made of it (see `rounds`), and only the service has any.
    """

    path: Path
    tags: Tensor
    known: Tensor
    mask: Path | None = None


class Sample(TypedDict):
    """What the loader gives for one photo; collated, each gets a batch axis.

    Attributes:
        image: (3, H, W) uint8 crop.
        box: (4,) int64 valid box y0, y1, x0, x1.
        tags, known: (C,) float32.
        saliency: (1, H, W) uint8 cue cut like the image; (0, H, W) without one.
        targets: (C + 1, H / k, W / k) uint8 soft labels, 255 = sure, smaller than the image by `label_downscale`; all 0
            where nothing is known; (0, ...) without soft labels.
        views: (n, 3, H, W) uint8: the two global views and the source of the local crops; empty without extra views.
        index: position of the photo in the training set.
    """

    image: Tensor
    box: Tensor
    tags: Tensor
    known: Tensor
    saliency: Tensor
    targets: Tensor
    views: Tensor
    index: int


def vocabulary_of(config: TrainConfig) -> Vocabulary:
    """Return the vocabulary that a configuration names."""
    return config.vocabulary


def training_photos(config: TrainConfig, vocabulary: Vocabulary) -> tuple[TrainingPhoto, ...]:
    """Collect the tagged photos of all sources.

    Tags outside the vocabulary are dropped here (the health report counts them); photos left without a tag are
    kept where their tags are complete, as pictures of none of the classes.

    Raises:
        NoTrainingData: a source has no photo with tags.
    """
    photos: list[TrainingPhoto] = []
    for source in config.sources:
        found = [_photo(source.images / name, entry, source, vocabulary) for name, entry in source_tags(source).items()]
        if not found:
            raise NoTrainingData(
                f"No tagged photo in {str(source.images)!r}.", fix="Check that the table names files of the folder."
            )
        photos += [photo for photo in found if photo.known.any()]
    if not photos:
        raise NoTrainingData("No training source is configured.", fix="Give --images and --tags.")
    return tuple(photos)


def source_tags(source: SourceConfig) -> TagTable:
    """Read the tags of a source; without a table the names of the folders are the tags.

    Folder names count as complete here: were the other classes unknown, no photo would say what a class does not
    look like, and nothing could be told apart. `SourceConfig.unknown` names what the photos may show all the same.
    """
    photos = [path.relative_to(source.images).as_posix() for path in find_images(source.images)]
    if source.tags is None:
        found = tags_from_folders(map(PurePosixPath, photos))
        return TagTable((name, TaggedImage(entry.tags)) for name, entry in found.items())
    table = read_tags(source.tags)
    photo_of = {row: photo for photo, row in table.match(photos).rows.items()}
    # Rows that mean no photo, or several, stay as they are: that there is no such file is told before training.
    return TagTable((photo_of.get(row, row), entry) for row, entry in table.items())


def _photo(path: Path, entry: TaggedImage, source: SourceConfig, vocabulary: Vocabulary) -> TrainingPhoto:
    tags = torch.zeros(len(vocabulary))
    tags[list(vocabulary.split_known(entry.tags)[0])] = 1.0
    known = torch.ones(len(vocabulary))
    patterns = [names for pattern, names in source.unknown.items() if fnmatch.fnmatch(path.name, pattern)]
    unknown = {name for names in patterns for name in names}
    if not entry.complete or "*" in unknown:
        known = tags.clone()
        known[list(vocabulary.channels(name for name in source.absent if name in vocabulary))] = 1.0
    else:
        known[list(vocabulary.channels(name for name in unknown if name in vocabulary))] = 0.0
        known = torch.maximum(known, tags)
    return TrainingPhoto(path, tags, known)


class TaggedPhotos(Dataset[Sample]):
    """Loads and augments training photos; the same (seed, pass, photo) always gives the same sample.

    Args:
        photos: the training set.
        config: sizes, augmentation, caching.
        saliency: (n, h, w) uint8 cue of each photo; see `saliency.saliency_maps`.
        soft_labels: of the photos, by their paths; with them, crops are composed of several photos.
    """

    def __init__(
        self,
        photos: tuple[TrainingPhoto, ...],
        config: TrainConfig,
        saliency: npt.NDArray[np.uint8] | None = None,
        soft_labels: SoftLabels | None = None,
    ) -> None:
        self.photos = photos
        self.config = config
        self.saliency = saliency
        self.soft_labels = soft_labels
        self.vocabulary = vocabulary_of(config)
        self._decoded: dict[int, Pixels] = {}
        self._cut: dict[tuple[int, int], tuple[Pixels, tuple[int, int, int, int]]] = {}
        self._donors = [] if soft_labels is None else _donors(photos, soft_labels)

    def __len__(self) -> int:
        return len(self.photos)

    def pixels(self, index: int) -> Pixels:
        """Return the decoded photo (H, W, 3) uint8, from memory where the configuration keeps it there."""
        if index in self._decoded:
            return self._decoded[index]
        side = self.config.cache_side
        pixels = read_image(self.photos[index].path, long_side=side or SIDE_LIMIT).pixels
        if side:
            self._decoded[index] = pixels
        return pixels

    def _with_saliency(self, index: int) -> Pixels:
        """Return the photo with its cue as a fourth channel, so that both are cut alike."""
        pixels = self.pixels(index)
        if self.saliency is None:
            return pixels
        size = (pixels.shape[1], pixels.shape[0])
        return np.dstack([pixels, cv2.resize(self.saliency[index], size, interpolation=cv2.INTER_LINEAR)])

    def __getitem__(self, ticket: tuple[int, int]) -> Sample:
        """Return the sample of (pass, photo index)."""
        epoch, index = ticket
        config = self.config
        photo = self.photos[index]
        rng = np.random.default_rng([config.seed, epoch, index])
        if self.soft_labels is not None:
            return self._composed(index, rng)
        if config.cached_crops is None:
            crop, box = random_crop(self._with_saliency(index), config.augmentation, rng)
        else:
            turn = epoch % config.cached_crops
            if (index, turn) not in self._cut:
                fixed = np.random.default_rng([config.seed, turn, index])
                self._cut[index, turn] = random_crop(self._with_saliency(index), config.augmentation, fixed)
            crop, box = self._cut[index, turn]
        cut = torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)
        image, saliency = cut[:3], cut[3:]
        views = image.new_empty((0, *image.shape))
        if config.contrast.extra_views and config.loss.ctc > 0:
            whole = torch.from_numpy(random_resized_crop(self.pixels(index), config.augmentation, rng)).permute(2, 0, 1)
            views = torch.stack(
                [
                    view(image, config.augmentation, rng, second=False),
                    view(whole, config.augmentation, rng, second=True),
                    view(image, config.augmentation, rng, second=False),
                ]
            )
        if config.augmentation.input_jitter:
            image = view(image, config.augmentation, rng, second=True)
        return Sample(
            image=image,
            box=torch.tensor(box),
            tags=photo.tags,
            known=photo.known,
            saliency=saliency,
            targets=image.new_empty((0, 1, 1)),
            views=views,
            index=index,
        )

    def _labelled(self, index: int) -> tuple[Pixels, list[int], Pixels]:
        """Return a photo, the channels of its soft labels, and the labels (H, W, n) uint8 at its own size."""
        pixels = self.pixels(index)
        found = None if self.soft_labels is None else self.soft_labels.of(str(self.photos[index].path))
        if found is None:
            return pixels, [], np.zeros((*pixels.shape[:2], 0), np.uint8)
        channels = [0, *(channel + 1 for channel in self.vocabulary.channels(found[0]))]
        size = (pixels.shape[1], pixels.shape[0])
        maps = [cv2.resize(np.asarray(values), size, interpolation=cv2.INTER_LINEAR) for values in found[1]]
        return pixels, channels, np.dstack(maps)

    def _cut_piece(self, index: int, augmentation: AugmentationConfig, rng: np.random.Generator) -> Piece:
        pixels, channels, maps = self._labelled(index)
        crop, _ = random_crop(np.dstack([pixels, maps]), augmentation, rng)
        labels = np.zeros((*crop.shape[:2], len(self.vocabulary) + 1), np.uint8)
        labels[..., channels] = crop[..., 3:]
        return Piece(crop[..., :3], labels)

    def _object_of(self, index: int) -> CutOut | None:
        """Cut out the object of a photo with one tag, if it can be."""
        tagged = self.photos[index].tags.nonzero().flatten().tolist()
        if len(tagged) != 1:
            return None
        pixels, channels, maps = self._labelled(index)
        channel = tagged[0] + 1
        return cut_out(pixels, maps[..., channels.index(channel)], channel) if channel in channels else None

    def _donor(self, rng: np.random.Generator) -> int:
        """Draw the photo whose object is pasted: any, or one of a class that is drawn first."""
        # Where classes are not drawn evenly, no chance is used up for it: a run of before goes on as it was.
        evenly = self.config.soft_labels.paste_evenly
        if evenly and self._donors and rng.random() < evenly:
            donors = self._donors[int(rng.integers(len(self._donors)))]
            return donors[int(rng.integers(len(donors)))]
        return int(rng.integers(len(self.photos)))

    def _composed(self, index: int, rng: np.random.Generator) -> Sample:
        """Return a sample made of a photo and, by chance, of parts of others."""
        config = self.config
        soft, augmentation = config.soft_labels, config.augmentation
        used = [index]
        if rng.random() < soft.mosaic:
            low, high = augmentation.rescale
            half = augmentation.model_copy(update={"crop": augmentation.crop // 2, "rescale": (0.5 * low, 0.5 * high)})
            used += [int(other) for other in rng.integers(len(self.photos), size=3)]
            piece = mosaic([self._cut_piece(other, half, rng) for other in used])
        else:
            piece = self._cut_piece(index, augmentation, rng)
        for _ in range(soft.pastes):
            if rng.random() >= soft.paste:
                break
            donor = self._donor(rng)
            cut = self._object_of(donor)
            if cut is not None:
                piece = paste(piece, cut, rng, sizes=soft.paste_sizes)
                used.append(donor)
        tags = torch.stack([self.photos[other].tags for other in used]).amax(dim=0)
        known = torch.stack([self.photos[other].known for other in used]).amin(dim=0)
        # What the crop or another object hides is neither there nor known to be absent.
        visible = torch.from_numpy(seen(piece.labels)).float()
        known = torch.where(tags > 0, visible, known)
        tags = tags * visible
        image = torch.from_numpy(np.ascontiguousarray(piece.pixels)).permute(2, 0, 1)
        if augmentation.input_jitter:
            image = view(image, augmentation, rng, second=True)
        side = augmentation.crop
        small = (side // config.cam.label_downscale,) * 2
        return Sample(
            image=image,
            box=torch.tensor((0, side, 0, side)),
            tags=tags,
            known=known,
            saliency=image.new_empty((0, side, side)),
            targets=torch.from_numpy(resize_maps(piece.labels, small, cv2.INTER_AREA)).permute(2, 0, 1),
            views=image.new_empty((0, *image.shape)),
            index=index,
        )


def _donors(photos: Sequence[TrainingPhoto], soft_labels: SoftLabels) -> list[list[int]]:
    """Return, for each class that has any, the photos with this one tag whose objects can be cut out."""
    found: dict[int, list[int]] = {}
    for index, photo in enumerate(photos):
        tagged = photo.tags.nonzero().flatten().tolist()
        if len(tagged) == 1 and str(photo.path) in soft_labels.rows:
            found.setdefault(tagged[0], []).append(index)
    return [found[channel] for channel in sorted(found)]


def sampling_weights(photos: Sequence[TrainingPhoto], balance: float) -> npt.NDArray[np.float64]:
    """Return (n,) how often each photo is drawn, as shares of 1: more often where one of its tags is rare.

    Args:
        photos: the training set.
        balance: 0 draws all alike; 1 in proportion to 1 / the count of the photo's rarest tag. No photo is drawn more
            than ten times as often as the average one.
    """
    tags = torch.stack([photo.tags for photo in photos]).numpy().astype(np.float64)
    counts = tags.sum(axis=0)
    usual = float(counts[counts > 0].max(initial=1.0))
    rarest = np.where(tags > 0, counts, usual).min(axis=1)
    weights = (usual / rarest) ** balance
    weights = np.minimum(weights / weights.mean(), 10.0)
    return np.asarray(weights / weights.sum())


class ResumableSampler(Sampler[tuple[int, int]]):
    """Endless shuffled passes over the data, split over processes, that can start anywhere.

    Args:
        size: number of photos.
        seed: of the shuffles.
        rank, world: this process and how many there are.
        start: how many tickets of this process were used already.
        weights: (size,) how often each photo is drawn, summing to 1; None takes each once a pass.
    """

    def __init__(
        self,
        size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self.size = size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.start = start
        self.weights = weights

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Give (pass, photo index) tickets for ever."""
        position = self.start * self.world + self.rank
        epoch, order = -1, np.empty(0, np.int64)
        while True:
            if position // self.size != epoch:
                epoch = position // self.size
                rng = np.random.default_rng([self.seed, epoch])
                if self.weights is None:
                    order = rng.permutation(self.size)
                else:
                    order = rng.choice(self.size, size=self.size, p=self.weights)
            yield epoch, int(order[position % self.size])
            position += self.world
