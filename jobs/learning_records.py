"""How far the learning of jobs is, in Redis. All changes of state are scripts in `learning_scripts`."""

from typing import Literal

from toco.jobs.job import classes_text
from toco.jobs.keys import unread_key
from toco.jobs.learning import LearntWords
from toco.jobs.learning_scripts import LearningScripts
from toco.jobs.published_models import PublishedVersion
from toco.jobs.records import Records
from toco.model.photos.classes import Vocabulary
from toco.model.photos.tag_check import TagCheck

Reading = Literal["read", "over", "more", "last", "done", "gone"]
Fitting = Literal["fit", "busy", "over", "exhausted"]


class LearningRecords:
    """The learning of all jobs. Safe to use from several threads."""

    def __init__(self, records: Records) -> None:
        self._redis = records.redis
        self._scripts = LearningScripts(records.redis)

    def unread(self, job: str) -> list[str]:
        """Return the sorted ids of the items whose tokens are still to be read."""
        return sorted(self._redis.smembers(unread_key(job)))

    def begin_read(self, job: str, item: str, *, max_attempts: int) -> Reading:
        """Note an attempt to read a photo.

        Returns:
            `read` it; or `over`: there is nothing to do. A photo at which the process ended too often is left out, with
            the answer of `end_read`.
        """
        return self._scripts.begin_read(args=[job, item, max_attempts])  # type: ignore[no-any-return] # what the script says

    def end_read(self, job: str, item: str, *, left_out: bool = False) -> Reading:
        """Note that a photo's tokens are stored, or cannot be had.

        Returns:
            `more` photos are to be read; it was the `last`: the words can be fitted; it was `done` before; or the job
            is `gone`, and what was stored is to go too.
        """
        how = "learning_left_out" if left_out else "learning_read"
        return self._scripts.end_read(args=[job, item, how])  # type: ignore[no-any-return] # what the script says

    def put_back(self, job: str, item: str) -> None:
        """Take an attempt back that failed for no fault of the photo's."""
        self._scripts.put_back(args=[job, item])

    def begin_fit(self, job: str, *, owner: str, seconds: float, max_attempts: int) -> Fitting:
        """Take the fit of a job.

        Args:
            job: which.
            owner: who asks: the queue message, so that its redelivery may take over at once.
            seconds: how long it is ours unless we renew.
            max_attempts: how often the process may have ended at it.

        Returns:
            `fit` it; someone is at it (`busy`); there is nothing to do (`over`); or it is ours to say that it is given
            up (`exhausted`).
        """
        return self._scripts.begin_fit(args=[job, owner, seconds, max_attempts])  # type: ignore[no-any-return] # what the script says

    def renew_fit(self, job: str, *, owner: str, seconds: float) -> bool:
        """Keep the fit; False if it was lost, or the job cancelled or deleted."""
        return bool(self._scripts.renew_fit(args=[job, owner, seconds]))

    def leave_fit(self, job: str, *, owner: str) -> None:
        """Give the fit back for a fault that may pass; it has lost no attempt."""
        self._scripts.leave_fit(args=[job, owner])

    def end_fit(
        self,
        job: str,
        *,
        owner: str,
        workspace: str,
        learnt: LearntWords | None = None,
        version: PublishedVersion | None = None,
        vocabulary: Vocabulary | None = None,
        check: TagCheck | None = None,
        error: str = "",
    ) -> bool:
        """End the learning of a job, so that its items can be labelled, and publish what was learnt: both or neither.

        Args:
            job: which.
            owner: as it was begun.
            workspace: of the job.
            learnt: what is known of each word; None if nothing was learnt.
            version: what is published under `learnt.name`, its files stored; None for nothing.
            vocabulary: classes of the job's labels.
            check: what its tags mean now.
            error: why nothing was learnt.

        Returns:
            False if the fit was lost, or the job cancelled or deleted: nothing was written.
        """
        fields = {"learning_error": error}
        if learnt is not None:
            fields["learnt"] = learnt.model_dump_json()
        if vocabulary is not None:
            fields["classes"] = classes_text(vocabulary)
        if check is not None:
            fields["tags"] = check.model_dump_json()
        published = ["", "", ""]
        if version is not None and learnt is not None:
            published = [learnt.name, version.digest, version.model_dump_json()]
        flat = [part for pair in fields.items() for part in pair]
        return bool(self._scripts.end_fit(args=[job, owner, workspace, *published, *flat]))
