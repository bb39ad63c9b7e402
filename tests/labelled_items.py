"""Items with a label, made without a worker: the real records, the real store, drawn labels."""

from tests.model.formats.conftest import OPTIONS, SPEC, draw_label, draw_photo
from toco.jobs.job import JobOptions, JobRecord, NewItem
from toco.jobs.records import Records
from toco.jobs.store import Store, artifact_key, image_key
from toco.jobs.summary import summarise
from toco.model.formats.artifacts import RESULT, encode_artifacts, encode_result
from toco.model.formats.result import result_of


def labelled_job(records: Records, store: Store, count: int = 1, *, model: str = "tiny", **label) -> JobRecord:
    """Make a job of drawn photos, each labelled with a cat (disc), a person (square) and an open band."""
    job = records.begin_job()
    items = [
        NewItem(f"{n}.jpg", image_key(job, f"{n:06d}"), format="JPEG", width=120, height=90, tags=("cat", "person"))
        for n in range(count)
    ]
    options = JobOptions(model=model, model_version=f"{model}@0", label=OPTIONS)
    records.create_job(job, items, options, priority="interactive")
    for n in range(count):
        item = f"{n:06d}"
        store.put(image_key(job, item), draw_photo())
        drawn = draw_label(**label)
        result = result_of(drawn, SPEC.model_copy(update={"name": model, "weights_sha256": "0"}), OPTIONS)
        artifacts = encode_artifacts(drawn) | {RESULT: encode_result(result)}
        for name, content in artifacts.items():
            store.put(artifact_key(job, item, name), content)
        lease = records.lease(job, item, owner="m", seconds=30, max_attempts=3)
        records.complete(lease, summarise(result, {name: len(data) for name, data in artifacts.items()}, {}))
    return records.job(job)
