"""Room on the disks is told where they are ours."""

import shutil

from toco.jobs.disk_space import DiskSpace, disk_space, running_out


def test_both_folders_of_one_machine_are_told(settings):
    settings.data_dir.mkdir(exist_ok=True)
    (settings.data_dir / "objects").mkdir()
    found = disk_space(settings)
    assert [space.volume for space in found] == ["data", "store"]
    assert found[0].total == shutil.disk_usage(settings.data_dir).total


def test_a_store_elsewhere_and_a_folder_that_is_away_are_left_out(settings):
    elsewhere = settings.model_copy(update={"store_url": "s3://bucket", "data_dir": settings.data_dir / "none"})
    assert disk_space(elsewhere) == []


def test_the_disk_with_too_little_room_is_named():
    full, fine = DiskSpace("data", 5, 100), DiskSpace("store", 50, 100)
    assert running_out([full, fine], least_bytes=10) == [full]
