"""A folder that Hugging Face `datasets` loads: `load_dataset("imagefolder", data_dir=...)`.

    <part>/metadata.jsonl          a row a photo: `file_name`, `mask_file_name`, tags, scores and sizes
    <part>/images/<photo>          the photos
    <part>/masks/<photo>.png       palette PNG, mask indices
    id2label.json                  class names by mask index
    README.md                      the data sheet, which is the data set's card

The loaded rows have the columns `image` and `mask`. Ignored pixels keep the index 255, which is the default
`ignore_index` of the segmentation image processors and losses of `transformers`.

References:
    huggingface.co/docs/datasets/image_dataset, "ImageFolder".
"""

import json
from collections import defaultdict
from typing import Any, ClassVar

from toco.model.formats.artifacts import encode_mask
from toco.model.formats.item import LabelledItem
from toco.model.formats.sink import Sink
from toco.model.formats.splits import listed_parts
from toco.model.formats.spool import LineSpool, compact_json
from toco.model.formats.writer import ExportOptions, ExportWriter
from toco.model.photos.classes import Vocabulary


class HuggingFaceWriter(ExportWriter):
    """See the module. The photos are always written, as the layout cannot do without."""

    name: ClassVar[str] = "huggingface"
    card_head: ClassVar[str] = "---\ntask_categories:\n- image-segmentation\n---\n"
    description: ClassVar[str] = "Hugging Face datasets folder: palette PNGs, 255 = ignore"

    def __init__(self, sink: Sink, vocabulary: Vocabulary, options: ExportOptions) -> None:
        super().__init__(sink, vocabulary, options)
        self._rows = defaultdict[str, LineSpool](lambda: self.keep(LineSpool()))

    def add(self, item: LabelledItem) -> None:
        """See `ExportWriter.add`."""
        mask = self.mask_of(item)
        suffix, photo = item.photo(jpeg_for=self.jpeg_for)
        stem, part, result = self.stem_of(item), self.part_of(item), item.result
        row: dict[str, Any] = {
            "file_name": f"images/{stem}{suffix}",
            "mask_file_name": f"masks/{stem}.png",
            "tags": list(result.tags),
            "tag_source": result.tag_source,
            "scores": [round(entry.score, 4) for entry in result.classes],
            "ignore_ratio": round(result.ignore_ratio, 4),
            "model_version": result.model_version,
        }
        self.sink.write(f"{part}/{row['file_name']}", photo)
        self.sink.write(f"{part}/{row['mask_file_name']}", encode_mask(mask))
        self._rows[part].add(compact_json(row).decode())

    def finish(self) -> None:
        """See `ExportWriter.finish`."""
        for part in listed_parts(self._rows) or [self.options.subset]:
            with self.sink.open(f"{part}/metadata.jsonl") as file:
                self._rows[part].copy_to(file)
        names = {str(index): name for index, name in sorted(self.vocabulary.name_of_index.items())}
        self.sink.write("id2label.json", json.dumps(names, indent=1, ensure_ascii=False).encode())
