"""What a label was stays; what it is, is one of these; two people at once lose nothing."""

import io
import json
import threading
import zipfile

import numpy as np
import pytest

from tests.labelled_items import labelled_job
from toco.jobs.audits import Audits, audit_lines
from toco.jobs.exports import ExportRequest, Exports
from toco.jobs.item_index import ItemIndex, ItemQuery
from toco.jobs.keys import item_set
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.relearning import Relearnings
from toco.jobs.revision_scripts import RevisionScripts
from toco.jobs.revisions import ItemNotLabelled, RevisionNotFound, RevisionOutdated, Revisions
from toco.jobs.store import StorageFull, Store, export_key
from toco.model.formats.artifacts import PSEUDO_MASK, RESULT, SEGMENTATION, read_result
from toco.model.photos.classes import IGNORE, VOC
from toco.model.photos.images import read_mask

CAT, DOG, PERSON = 8, 12, 15
ITEM = "000000"


@pytest.fixture
def store(settings):
    return Store.open(settings)


@pytest.fixture
def revisions(records, store):
    return Revisions(records, store, max_pixels=10**6)


@pytest.fixture
def job(records, store):
    return labelled_job(records, store).id


def drawn(index: int = DOG, columns: int = 40) -> np.ndarray:
    mask = np.zeros((90, 120), np.uint8)
    mask[:, :columns] = index
    mask[80:] = IGNORE
    return mask


def put(revisions, job, mask=None, **settings):
    mask = drawn() if mask is None else mask
    return revisions.put_mask(job, ITEM, mask, VOC, **{"how": "brush", "who": "ann"} | settings)


def objects(store, job):
    return {found.key for found in store.under(f"jobs/{job}/revisions/")}


def test_the_workers_label_is_revision_0_and_a_mask_is_the_next(records, store, revisions, job):
    (first,) = revisions.newest(job, ITEM)
    assert (first.revision.number, first.revision.how, first.is_current, first.words) == (
        0, "machine", True, ("cat", "person"),
    )  # fmt: skip
    made = put(revisions, job)
    assert (made.revision.number, made.revision.how, made.revision.who, made.revision.based_on) == (
        1,
        "brush",
        "ann",
        0,
    )
    newest, oldest = revisions.newest(job, ITEM)
    assert (newest.is_current, oldest.is_current, oldest.summary) == (True, False, first.summary)
    item = records.item(job, ITEM)
    assert (read_mask(store.get(item.key_of(PSEUDO_MASK))) == drawn()).all()
    assert (read_mask(store.get(oldest.revision.key_of(job, ITEM, PSEUDO_MASK))) != drawn()).any()
    assert item.tags == ("cat", "person", "dog"), "what is drawn is a tag from now on"
    assert item.summary.empty_tags == ("cat", "person"), "and what lost its pixels is still one"
    areas = {row["name"]: row["area"] for row in item.summary.classes}
    assert areas == {"cat": 0, "dog": 80 * 40, "person": 0}
    assert item.summary.ignore_ratio == pytest.approx(10 / 90)
    assert item.summary.doubt == 0.0, "nobody doubts what a person drew"


def test_all_artifacts_of_a_revision_fit_each_other(records, store, revisions, job):
    put(revisions, job)
    item = records.item(job, ITEM)
    result = read_result(store.get(item.key_of(RESULT)))
    assert (result.by_person, result.tags) == (True, ("cat", "dog", "person"))
    filled = read_mask(store.get(item.key_of(SEGMENTATION)))
    machine = read_mask(store.get(item.revision.machine_key_of(job, ITEM, SEGMENTATION)))
    assert (filled[:80] == drawn()[:80]).all()
    assert (filled[80:] == machine[80:]).all(), "what the person left open is what the machine said"
    for name, size in item.summary.artifacts.items():
        assert len(store.get(item.key_of(name))) == size, name


def test_tags_that_are_named_are_all_there_are(records, revisions, job):
    put(revisions, job, tags=["dog"])
    item = records.item(job, ITEM)
    assert (item.tags, item.summary.tags, item.summary.open_tags) == (("dog",), ("dog",), ())


def test_going_back_is_choosing_an_older_one_and_its_verdict_comes_along(records, revisions, job):
    index = ItemIndex(records)

    def found(**query) -> int:
        return index.find(job, ItemQuery(**query)).total

    before = records.item(job, ITEM)
    records.decide(job, ITEM, "reject")
    put(revisions, job, accept=True)
    assert (found(decision="accept"), found(decision="reject"), found(tag="dog"), found(tag="cat")) == (1, 0, 1, 1)
    assert records.job(job).empty_tags == {"cat": 1, "person": 1}
    revisions.choose(job, ITEM, 0)
    back = records.item(job, ITEM)
    assert (back.summary, back.tags, back.decision, back.latest) == (before.summary, before.tags, "reject", 1)
    assert (found(decision="accept"), found(decision="reject"), found(tag="dog"), found(tag="cat")) == (0, 1, 0, 1)
    assert not any(records.job(job).empty_tags.values())
    assert revisions.newest(job, ITEM)[0].decision == "accept"
    revisions.choose(job, ITEM, 1)
    assert records.item(job, ITEM).decision == "accept"
    put(revisions, job, drawn(columns=3))
    assert [known.revision.number for known in revisions.newest(job, ITEM)] == [2, 1, 0]
    assert records.item(job, ITEM).decision is None, "a new mask is yet to be judged"


def test_who_comes_second_is_told_and_nothing_is_lost(store, revisions, job):
    first = put(revisions, job, expected=0)
    with pytest.raises(RevisionOutdated, match="revision 1") as told:
        put(revisions, job, drawn(columns=9), expected=0, who="bob")
    assert (told.value.current, told.value.kind) == (1, "outdated")
    with pytest.raises(RevisionOutdated):
        revisions.choose(job, ITEM, 0, expected=0)
    assert put(revisions, job, drawn(columns=9), expected=1, who="bob").revision.based_on == first.revision.number
    kept = {revision.revision.folder for revision in revisions.newest(job, ITEM)} - {""}
    assert {key.split("/")[4] for key in objects(store, job)} == kept


def test_the_same_mask_sent_twice_is_one_revision(revisions, job):
    first = put(revisions, job, expected=0)
    assert put(revisions, job, expected=0) == first
    assert len(revisions.newest(job, ITEM)) == 2


def test_many_editors_at_once_each_revision_is_whole(records, store, revisions, job):
    outcomes = []

    def edit(columns: int) -> None:
        try:
            outcomes.append(put(revisions, job, drawn(columns=columns), expected=0).revision.number)
        except RevisionOutdated:
            outcomes.append(None)

    def edit_anyhow(columns: int) -> None:
        outcomes.append(put(revisions, job, drawn(columns=columns)).revision.number)

    threads = [threading.Thread(target=edit, args=(n,)) for n in range(10, 16)]
    threads += [threading.Thread(target=edit_anyhow, args=(n,)) for n in range(20, 26)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = revisions.newest(job, ITEM)
    numbers = [revision.revision.number for revision in known]
    assert numbers == list(range(len(numbers) - 1, -1, -1))
    assert sorted(number for number in outcomes if number) == numbers[:-1][::-1]
    assert sum(revision.is_current for revision in known) == 1
    folders = set()
    for revision in known:
        mask = read_mask(store.get(revision.revision.key_of(job, ITEM, PSEUDO_MASK)))
        assert {row["area"] for row in revision.summary.classes if row["name"] == "dog"} <= {int((mask == DOG).sum())}
        folders.add(revision.revision.folder)
    assert {key.split("/")[4] for key in objects(store, job)} == folders - {""}, "who lost left nothing behind"


def test_a_full_store_leaves_no_half_revision(records, store, revisions, job, monkeypatch):
    before = records.item(job, ITEM)
    plain, left = store.put, [2]

    def full(key, content):
        left[0] -= 1
        if left[0] < 0:
            raise StorageFull("No room.")
        plain(key, content)

    monkeypatch.setattr(store, "put", full)
    with pytest.raises(StorageFull):
        put(revisions, job, expected=0)
    assert records.item(job, ITEM) == before
    monkeypatch.setattr(store, "put", plain)
    assert put(revisions, job, expected=0).revision.number == 1, "the same request succeeds later"


def test_a_photo_without_label_cannot_be_corrected_and_a_corrected_one_is_not_labelled_anew(records, store, make_job):
    revisions = Revisions(records, store, max_pixels=10**6)
    waiting = make_job(1).id
    assert revisions.newest(waiting, ITEM) == []
    with pytest.raises(ItemNotLabelled, match="queued"):
        put(revisions, waiting)
    job = labelled_job(records, store, 2).id
    put(revisions, job)
    assert records.retry(job, ("done",)) == ["000001"]
    with pytest.raises(RevisionNotFound, match="has 0 to 1"):
        revisions.choose(job, ITEM, 2)


def test_exports_hold_the_current_revision_and_a_change_is_another_export(records, store, settings, revisions):
    catalogue = ModelCatalogue(settings, records)
    exports = Exports(records, store, catalogue)
    job = labelled_job(records, store, model=catalogue.find("").spec.name).id
    first, _ = exports.request(job, ExportRequest(format="voc"))
    put(revisions, job)
    second, is_new = exports.request(job, ExportRequest(format="voc"))
    assert (is_new, first.id != second.id) == (True, True)
    exports.build(second.id, lease_seconds=9, max_attempts=3)
    with zipfile.ZipFile(io.BytesIO(store.get(export_key(job, second.id)))) as archive:
        assert (read_mask(archive.read("SegmentationClass/0.png")) == drawn()).all()


def test_an_export_says_what_an_audit_found(records, store, settings, revisions):
    job = labelled_job(records, store, 4).id
    audits = Audits(records, store)
    assert audit_lines(audits.newest_result(job, VOC)) == []
    drawn = audits.draw(job, 3, seed=1)
    assert audits.newest_result(job, VOC) is None, "nothing is checked yet"
    records.decide(job, drawn.photos[0].item, "accept")
    text = "\n".join(audit_lines(audits.newest_result(job, VOC)))
    assert "A person checked 1 of 3 photos drawn at random (stratified by class, seed 1) of 4." in text
    assert "Not all of the sample is checked" in text
    assert "| cat (rare, not in the mean) | 1.000 | 0.000 to 1.000 | 1 |" in text, "one photo says next to nothing"


def test_a_deleted_job_leaves_no_revision_nor_audit_nor_what_was_learnt(records, store, revisions, job):
    put(revisions, job)
    Audits(records, store).draw(job, 1)
    relearnings = Relearnings(records)
    begun = relearnings.begin(job, "ann")
    relearnings.note_change(job, begun.id, ITEM, 1, 0.5)
    assert relearnings.stalled(-1.0) == [(job, begun.id)]
    records.delete_job(job)
    assert not records.redis.keys(f"toco:job:{job}*")
    assert relearnings.stalled(-1.0) == []
    relearnings.note_change(job, begun.id, ITEM, 1, 0.5)
    assert not records.redis.keys(f"toco:job:{job}*"), "a late word brings nothing back"
    assert store.delete_prefix(f"jobs/{job}/") > 0
    assert not objects(store, job)


def test_a_thousand_revisions_are_listed_at_the_cost_of_a_page(records, store, revisions, job):
    put(revisions, job)
    item = records.item(job, ITEM)
    scripts, summary = RevisionScripts(records.redis), item.summary.model_dump_json()
    for number in range(2, 1001):
        entry = item.revision.model_copy(update={"number": number, "based_on": number - 1}).model_dump_json()
        arguments = [job, ITEM, "", number, entry, summary, json.dumps(item.tags), "", 1, *item.summary.indexed()]
        assert scripts.revise(args=arguments)[0] == "done"
    before = records.redis.info("stats")
    page = revisions.newest(job, ITEM)
    assert ItemIndex(records).find(job, ItemQuery()).total == 1
    after = records.redis.info("stats")
    assert [known.revision.number for known in page] == list(range(1000, 900, -1))
    # What was read for it is a hundred of them with what is told of each, not the thousand entries.
    assert after["total_commands_processed"] - before["total_commands_processed"] < 40
    assert after["total_net_output_bytes"] - before["total_net_output_bytes"] < 1000 * len(entry)
    assert revisions.newest(job, ITEM, before=3) == [revisions.find(job, ITEM, n) for n in (2, 1, 0)]
    assert records.redis.smembers(item_set(job, "tag", "dog")) == {ITEM}
