"""Every key in Redis, made here and nowhere else, for Python and for the scripts of `transitions` alike.

`{job}`, `{item}` and the like are ids; what is not said to be something else is a hash.

    job:{job}                        the job, its counts and its state
    job:{job}:item:{item}            an item
    job:{job}:item:{item}:revisions  what an item was and is: by number, and `summary:`, `words:`, `verdict:` with it
    job:{job}:state:{state}          set of items; likewise :tag:{class} and :decision:{decision}
    job:{job}:order:{measure}        sorted set of items by a measure
    job:{job}:tags                   set: the classes that have a set
    job:{job}:relearnings            sorted set of what was learnt again by its beginning; each is :relearning:{id},
                                     with :lock while it is fitted and :changes, a sorted set of `{item}:{revision}` by
                                     the IoU with the former mask
    job:{job}:audits                 sorted set of audits by their beginning; each is text, :audit:{id}
    relearnings:active               sorted set of `{job}:{id}` still to be fitted by the last sign of life
    job:{job}:unread                 set: items whose tokens are still to be read, see `learning_scripts`
    job:{job}:readings               attempts to read them, by item
    job:{job}:exports                sorted set of the job's exports by their beginning
    schema                           text: the number that all records have reached
    jobs, jobs:state:{state}, jobs:workspace:{workspace}   sorted sets of jobs by their ids
    jobs:active, jobs:finished, jobs:creating, jobs:trash   sorted sets of jobs
    jobs:revising                    sorted set of jobs that make revisions of others' labels, by their beginning
    leases                           sorted set of `{job}:{item}` by the end of the lease
    delayed                          sorted set of `{job}:{item}` by the time at which to queue it
    items                            items by state over all jobs
    training:{training}              a training; with :losses, sorted set of losses as JSON by their step
    trainings, trainings:workspace:{workspace}   sorted sets of trainings by their ids
    trainings:active                 sorted set of trainings that are not over by the time at which to look after them
    trainings:trash                  sorted set of trainings whose objects are to be deleted, by when
    export:{export}                  an export; with :lock while it is built
    exports:active                   sorted set of unfinished exports by the last sign of life
    job:{job}:reports, report:{report}, reports:active   likewise of reports, see `reports`
    upload:{upload}                  a resumable upload; with :lock while a piece comes in
    uploads                          sorted set of uploads by the end of their time
    webhooks, webhook_attempts       sorted set of `{job}:{round}` by the next attempt, and how many there were;
                                     webhooks:claim:{event} while one is sent
    key:{key}, keys                  an API key, and the sorted set of them
    quota:{key}:{day}                text: photos of an API key on a day
    rate:{key}                       the token bucket of an API key
    idempotency:{owner}:{digest}     text: the job that an Idempotency-Key made
    totals, workers, worker_reports  figures of the workers; `workers` is a sorted set by the end of a report's time
    speed                            measured seconds a photo by model and options
    mappings:{workspace}             the users' own words as JSON, by the name of the mapping
    data_sets:{workspace}            members of data sets as JSON, by the name of the data set
    models:default                   text; models:default:{workspace} where a workspace chose one of its own
    models:published:{workspace}     set: names of the models that jobs and trainings of a workspace made
    models:published:{workspace}:{name}   a published model and its versions, see `publishing`
    models:wishes                    text: number of the newest wish to load or unload a model
    models:warm, models:cold         the number of the last wish, by model
    waiting:{errand}                 text: a message for an errand waits on its queue
    trash_attempts                   how often the objects of a deleted job were to be deleted, by job
    query:{query}                    sorted sets: what a search is narrowed down to, for seconds
    sweep                            text: which process sweeps now
    annotation:label:{digest}        text: the item of a photo that an annotation tool asked for
    annotation:image:{digest}        text: where a photo is kept that was fetched for a task lately
    annotation:project:{project}     text: settings of a project in Label Studio
    annotation:task:{task}           text: the item that a task of Label Studio is labelled as
    annotation:config:{digest}       text: a labelling config
    annotation:late                  sorted set of ids by the next look; with :{id}, text: predictions still to be
                                     pushed, with :claim:{id} while they are
"""

from collections.abc import Iterable
from typing import Final

PREFIX: Final = "toco:"

SCHEMA_NUMBER: Final = f"{PREFIX}schema"
JOBS: Final = f"{PREFIX}jobs"
JOBS_ACTIVE: Final = f"{PREFIX}jobs:active"
JOBS_FINISHED: Final = f"{PREFIX}jobs:finished"
JOBS_CREATING: Final = f"{PREFIX}jobs:creating"
JOBS_TRASH: Final = f"{PREFIX}jobs:trash"
TRASH_ATTEMPTS: Final = f"{PREFIX}trash_attempts"
LEASES: Final = f"{PREFIX}leases"
DELAYED: Final = f"{PREFIX}delayed"
ITEMS: Final = f"{PREFIX}items"
TRAININGS: Final = f"{PREFIX}trainings"
TRAININGS_ACTIVE: Final = f"{PREFIX}trainings:active"
TRAININGS_TRASH: Final = f"{PREFIX}trainings:trash"
JOBS_REVISING: Final = f"{PREFIX}jobs:revising"
RELEARNINGS_ACTIVE: Final = f"{PREFIX}relearnings:active"
EXPORTS_ACTIVE: Final = f"{PREFIX}exports:active"
REPORTS_ACTIVE: Final = f"{PREFIX}reports:active"
UPLOADS: Final = f"{PREFIX}uploads"
WEBHOOKS: Final = f"{PREFIX}webhooks"
WEBHOOK_ATTEMPTS: Final = f"{PREFIX}webhook_attempts"
API_KEYS: Final = f"{PREFIX}keys"
TOTALS: Final = f"{PREFIX}totals"
WORKERS: Final = f"{PREFIX}workers"
WORKER_REPORTS: Final = f"{PREFIX}worker_reports"
SPEED: Final = f"{PREFIX}speed"
DEFAULT_MODEL_NAME: Final = f"{PREFIX}models:default"
MODEL_WISHES: Final = f"{PREFIX}models:wishes"
MODELS_WARM: Final = f"{PREFIX}models:warm"
MODELS_COLD: Final = f"{PREFIX}models:cold"
SWEEP: Final = f"{PREFIX}sweep"
LATE_PREDICTIONS: Final = f"{PREFIX}annotation:late"


def job_key(job: str) -> str:
    """Key of a job's hash, and the beginning of the keys of its parts."""
    return f"{PREFIX}job:{job}"


def item_key(job: str, item: str) -> str:
    """Key of an item's hash."""
    return f"{job_key(job)}:item:{item}"


def revisions_key(job: str, item: str) -> str:
    """Key of the hash of an item's revisions; it begins with the first that is not the worker's own."""
    return f"{item_key(job, item)}:revisions"


def jobs_in_state(state: str) -> str:
    """Key of the jobs in a state, in the order of their ids."""
    return f"{JOBS}:state:{state}"


def mappings_key(workspace: str) -> str:
    """Key of the mappings of a workspace."""
    return f"{PREFIX}mappings:{workspace}"


def workspace_default(workspace: str) -> str:
    """Key of the default model of a workspace that chose one of its own."""
    return f"{DEFAULT_MODEL_NAME}:{workspace}"


def published_names(workspace: str) -> str:
    """Key of the set of names of a workspace's published models."""
    return f"{PREFIX}models:published:{workspace}"


def published_model(workspace: str, name: str) -> str:
    """Key of a published model's hash."""
    return f"{published_names(workspace)}:{name}"


def data_sets_key(workspace: str) -> str:
    """Key of the data sets of a workspace."""
    return f"{PREFIX}data_sets:{workspace}"


def jobs_in_workspace(workspace: str) -> str:
    """Key of the jobs of a workspace, in the order of their ids."""
    return f"{JOBS}:workspace:{workspace}"


def item_set(job: str, kind: str, value: str) -> str:
    """Key of the set of a job's items of one `state`, `tag` or `decision`."""
    return f"{job_key(job)}:{kind}:{value}"


def order_key(job: str, measure: str) -> str:
    """Key of a job's items sorted by a measure."""
    return f"{job_key(job)}:order:{measure}"


def tags_key(job: str) -> str:
    """Key of the set of classes that have a set of items in a job."""
    return f"{job_key(job)}:tags"


def relearnings_key(job: str) -> str:
    """Key of the list of what a job learnt again."""
    return f"{job_key(job)}:relearnings"


def relearning_record(job: str, relearning: str) -> str:
    """Key of the hash of what was learnt again once."""
    return f"{job_key(job)}:relearning:{relearning}"


def relearning_changes(job: str, relearning: str) -> str:
    """Key of the revisions that came of it, by IoU with the former mask."""
    return f"{relearning_record(job, relearning)}:changes"


def audits_key(job: str) -> str:
    """Key of the list of a job's audits."""
    return f"{job_key(job)}:audits"


def audit_record(job: str, audit: str) -> str:
    """Key of an audit as it was drawn."""
    return f"{job_key(job)}:audit:{audit}"


def unread_key(job: str) -> str:
    """Key of the set of a job's items whose tokens are still to be read."""
    return f"{job_key(job)}:unread"


def readings_key(job: str) -> str:
    """Key of the attempts to read the tokens of a job's items."""
    return f"{job_key(job)}:readings"


def job_exports_key(job: str) -> str:
    """Key of a job's list of exports."""
    return f"{job_key(job)}:exports"


def training_record(training: str) -> str:
    """Key of a training's hash."""
    return f"{PREFIX}training:{training}"


def training_losses(training: str) -> str:
    """Key of the losses of a training."""
    return f"{training_record(training)}:losses"


def trainings_in_workspace(workspace: str) -> str:
    """Key of the trainings of a workspace, in the order of their ids."""
    return f"{TRAININGS}:workspace:{workspace}"


def export_record(export: str) -> str:
    """Key of an export's hash."""
    return f"{PREFIX}export:{export}"


def job_reports_key(job: str) -> str:
    """Key of a job's list of reports."""
    return f"{job_key(job)}:reports"


def report_record(report: str) -> str:
    """Key of a report's hash."""
    return f"{PREFIX}report:{report}"


def upload_record(upload: str) -> str:
    """Key of an upload's hash."""
    return f"{PREFIX}upload:{upload}"


def lock_of(key: str) -> str:
    """Key that says that someone is at the work behind a key."""
    return f"{key}:lock"


def claim_of(key: str, member: str) -> str:
    """Key that says that someone works on a member of a sorted set."""
    return f"{key}:claim:{member}"


def api_key_record(key: str) -> str:
    """Key of an API key's hash."""
    return f"{PREFIX}key:{key}"


def quota_key(key: str, day: int) -> str:
    """Key of the photos that an API key sent on a day, counted from 1970."""
    return f"{PREFIX}quota:{key}:{day}"


def idempotency_record(owner: str, digest: str) -> str:
    """Key of what an Idempotency-Key of an API key made."""
    return f"{PREFIX}idempotency:{owner}:{digest}"


def rate_key(key: str) -> str:
    """Key of the token bucket of an API key."""
    return f"{PREFIX}rate:{key}"


def waiting_key(task: str, arguments: Iterable[object]) -> str:
    """Key that says that a message for an errand waits."""
    return f"{PREFIX}waiting:{':'.join(map(str, (task, *arguments)))}"


def query_key(query: str) -> str:
    """Key of what a search is narrowed down to."""
    return f"{PREFIX}query:{query}"


def shared_label_key(digest: str) -> str:
    """Key of the item of a photo that an annotation tool asked for."""
    return f"{PREFIX}annotation:label:{digest}"


def kept_image_key(digest: str) -> str:
    """Key of where the photo of a task is kept."""
    return f"{PREFIX}annotation:image:{digest}"


def project_key(project: str) -> str:
    """Key of the settings of a project in Label Studio; its name is the tool's, of whatever length."""
    return f"{PREFIX}annotation:project:{project[:100]}"


def annotated_task(task: int) -> str:
    """Key of the item that a task of Label Studio is labelled as."""
    return f"{PREFIX}annotation:task:{task}"


def annotation_config(digest: str) -> str:
    """Key of a labelling config."""
    return f"{PREFIX}annotation:config:{digest}"


def late_prediction(late: str) -> str:
    """Key of predictions that are still to be pushed."""
    return f"{LATE_PREDICTIONS}:{late}"


LUA_KEYS: Final = f"""
local function jobkey(job) return '{job_key("")}' .. job end
local function itemkey(job, item) return jobkey(job) .. ':item:' .. item end
local function revisionskey(job, item) return itemkey(job, item) .. ':revisions' end
local function setkey(job, kind, value) return jobkey(job) .. ':' .. kind .. ':' .. value end
local function statekey(job, state) return setkey(job, 'state', state) end
local function jobsinstate(state) return '{jobs_in_state("")}' .. state end
local function jobsinworkspace(workspace) return '{jobs_in_workspace("")}' .. workspace end
local function orderkey(job, measure) return jobkey(job) .. ':order:' .. measure end
local function tagskey(job) return jobkey(job) .. ':tags' end
local ITEMS, LEASES, WEBHOOKS = '{ITEMS}', '{LEASES}', '{WEBHOOKS}'
local JOBS, JOBS_ACTIVE, JOBS_FINISHED = '{JOBS}', '{JOBS_ACTIVE}', '{JOBS_FINISHED}'
local JOBS_CREATING, JOBS_TRASH = '{JOBS_CREATING}', '{JOBS_TRASH}'
local function unreadkey(job) return jobkey(job) .. ':unread' end
local function readingskey(job) return jobkey(job) .. ':readings' end
local function exportskey(job) return jobkey(job) .. ':exports' end
local function exportkey(export) return '{export_record("")}' .. export end
local function reportskey(job) return jobkey(job) .. ':reports' end
local function reportkey(report) return '{report_record("")}' .. report end
local function publishednames(workspace) return '{published_names("")}' .. workspace end
local function publishedkey(workspace, name) return publishednames(workspace) .. ':' .. name end
local function workspacedefault(workspace) return '{workspace_default("")}' .. workspace end
local function trainingkey(training) return '{training_record("")}' .. training end
local function losseskey(training) return trainingkey(training) .. ':losses' end
local function trainingsinworkspace(workspace) return '{trainings_in_workspace("")}' .. workspace end
local TRAININGS, TRAININGS_ACTIVE, TRAININGS_TRASH = '{TRAININGS}', '{TRAININGS_ACTIVE}', '{TRAININGS_TRASH}'
local function relearningskey(job) return jobkey(job) .. ':relearnings' end
local function relearningkey(job, id) return jobkey(job) .. ':relearning:' .. id end
local function auditskey(job) return jobkey(job) .. ':audits' end
local RELEARNINGS_ACTIVE = '{RELEARNINGS_ACTIVE}'
local EXPORTS_ACTIVE, REPORTS_ACTIVE = '{EXPORTS_ACTIVE}', '{REPORTS_ACTIVE}'
local DELAYED = '{DELAYED}'
"""
"""The same names for the scripts."""
