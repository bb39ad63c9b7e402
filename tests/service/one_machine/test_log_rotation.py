"""A log that grows is put aside, and its writer goes on."""

from toco.service.one_machine.log_rotation import rotate


def test_a_small_log_or_none_is_left_alone(tmp_path):
    log = tmp_path / "a.log"
    assert not rotate(log, most_bytes=10)
    log.write_text("123456789")
    assert not rotate(log, most_bytes=10)
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def test_a_writer_that_appends_goes_on_with_the_same_file_and_old_parts_are_dropped(tmp_path):
    log = tmp_path / "a.log"
    with log.open("a") as writer:
        for number in range(6):
            writer.write(f"part {number} of the log\n")
            writer.flush()
            assert rotate(log, most_bytes=10, kept=3)
        writer.write("the last line\n")
    assert log.read_text() == "the last line\n"
    assert {path.name: path.read_text() for path in tmp_path.glob("a.log.*")} == {
        "a.log.1": "part 5 of the log\n",
        "a.log.2": "part 4 of the log\n",
        "a.log.3": "part 3 of the log\n",
    }
