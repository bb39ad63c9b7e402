"""Python and the scripts in Redis name every key alike, and nobody else makes one."""

import re
from pathlib import Path

import pytest

from toco.jobs import keys

ROOT = Path(__file__).parents[2]

ALIKE = {
    "jobkey('j')": keys.job_key("j"),
    "itemkey('j', 'i')": keys.item_key("j", "i"),
    "statekey('j', 'done')": keys.item_set("j", "state", "done"),
    "setkey('j', 'tag', 'cat')": keys.item_set("j", "tag", "cat"),
    "jobsinstate('failed')": keys.jobs_in_state("failed"),
    "jobsinworkspace('w')": keys.jobs_in_workspace("w"),
    "orderkey('j', 'doubt')": keys.order_key("j", "doubt"),
    "tagskey('j')": keys.tags_key("j"),
    "exportskey('j')": keys.job_exports_key("j"),
    "unreadkey('j')": keys.unread_key("j"),
    "readingskey('j')": keys.readings_key("j"),
    "exportkey('e')": keys.export_record("e"),
    "reportskey('j')": keys.job_reports_key("j"),
    "reportkey('r')": keys.report_record("r"),
    "publishednames('w')": keys.published_names("w"),
    "publishedkey('w', 'm')": keys.published_model("w", "m"),
    "workspacedefault('w')": keys.workspace_default("w"),
    "revisionskey('j', 'i')": keys.revisions_key("j", "i"),
    "relearningskey('j')": keys.relearnings_key("j"),
    "relearningkey('j', 'r')": keys.relearning_record("j", "r"),
    "auditskey('j')": keys.audits_key("j"),
    "RELEARNINGS_ACTIVE": keys.RELEARNINGS_ACTIVE,
    "trainingkey('t')": keys.training_record("t"),
    "losseskey('t')": keys.training_losses("t"),
    "trainingsinworkspace('w')": keys.trainings_in_workspace("w"),
    "TRAININGS": keys.TRAININGS,
    "TRAININGS_ACTIVE": keys.TRAININGS_ACTIVE,
    "TRAININGS_TRASH": keys.TRAININGS_TRASH,
    "EXPORTS_ACTIVE": keys.EXPORTS_ACTIVE,
    "REPORTS_ACTIVE": keys.REPORTS_ACTIVE,
    "DELAYED": keys.DELAYED,
    "ITEMS": keys.ITEMS,
    "LEASES": keys.LEASES,
    "WEBHOOKS": keys.WEBHOOKS,
    "JOBS": keys.JOBS,
    "JOBS_ACTIVE": keys.JOBS_ACTIVE,
    "JOBS_FINISHED": keys.JOBS_FINISHED,
    "JOBS_CREATING": keys.JOBS_CREATING,
    "JOBS_TRASH": keys.JOBS_TRASH,
}


@pytest.mark.parametrize("expression", ALIKE)
def test_scripts_and_python_name_a_key_alike(expression, records):
    assert records.redis.eval(f"{keys.LUA_KEYS}\nreturn {expression}", 0) == ALIKE[expression]


def test_every_name_of_the_scripts_is_compared():
    named = re.findall(r"local function (\w+)", keys.LUA_KEYS) + re.findall(r"\b([A-Z_]{2,})\b", keys.LUA_KEYS)
    assert {name for name in named if name != "P"} == {expression.partition("(")[0] for expression in ALIKE}


def test_no_other_file_makes_a_key():
    makers = [
        path.relative_to(ROOT).as_posix()
        for floor in ("jobs", "workers", "service", "model")
        for path in sorted((ROOT / floor).rglob("*.py"))
        if re.search(r"""["']toco:(?! )|PREFIX\}|PREFIX \+""", path.read_text("utf-8")) and path.name != "keys.py"
    ]
    assert makers == ["jobs/api_keys.py"]  # a token's own beginning, which is no key
