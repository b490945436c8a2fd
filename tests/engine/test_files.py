import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from lineup import files


def test_write_atomic_replaces_the_whole_file(tmp_path):
    path = tmp_path / "folder" / "file"
    files.write_atomic(path, b"old")
    files.write_atomic(path, b"new")

    assert path.read_bytes() == b"new"
    assert [child.name for child in path.parent.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_a_new_file_has_the_mode_that_the_process_gives(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.write_atomic(tmp_path / "file", b"x")
        with files.staged_directory(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~mask


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "画" * 85])
def test_the_longest_names_can_be_written(tmp_path, name):
    files.write_atomic(tmp_path / name, b"old")
    files.write_atomic(tmp_path / name, b"new")
    with files.staged_directory(tmp_path / f"x{name[1:]}"):
        pass

    assert (tmp_path / name).read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_was_staged_beside_a_long_name_is_known_by_it(tmp_path):
    names = ["n" * 250 + end for end in "ab"]
    folders = []
    for name in names:
        folders.append(tmp_path / f"{files.hidden_name(name)}{files.STAGING_MARK}dead")
        folders[-1].mkdir()
        (folders[-1] / files.STAGING_LOCK_NAME).touch()

    with files.staged_directory(tmp_path / names[0]):
        pass

    assert [one.exists() for one in folders] == [False, True]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_atomic(path, b"old")

    def disk_full(handle):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", disk_full)

    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(path, b"new")

    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["file/below", "folder", "x" * 300])
def test_an_error_names_the_file_that_was_asked_for(tmp_path, monkeypatch, name):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()

    with pytest.raises(OSError, match=r"directory|too long") as caught:
        files.write_atomic(tmp_path / name, b"x")

    assert caught.value.filename == str(tmp_path / name)
    assert caught.value.filename2 is None
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]


def test_a_link_is_written_through_and_the_mode_stays(tmp_path):
    target, link, dangling = (tmp_path / name for name in ("target", "link", "dangling"))
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to("target")
    dangling.symlink_to(tmp_path / "new")

    files.write_atomic(link, b"new")
    files.write_atomic(dangling, [b"n", b"ew"])

    assert link.is_symlink()
    assert dangling.is_symlink()
    assert target.read_bytes() == (tmp_path / "new").read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_device_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    files.write_atomic(pipe, b"page")
    files.write_atomic(Path(os.devnull), b"page")

    assert os.read(reader, 99) == b"page"
    os.close(reader)
    assert pipe.is_fifo()
    assert Path(os.devnull).is_char_device()
    assert list(tmp_path.iterdir()) == [pipe]


def test_the_same_file_is_known_by_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "soft").symlink_to("a")
    os.link("a", "hard")
    (tmp_path / "b").write_bytes(b"")

    names = [tmp_path / "a", Path("./a"), Path("soft"), Path("hard")]
    assert all(files.is_same_file(Path("a"), name) for name in names)
    assert files.is_same_file(Path("gone"), tmp_path / "x" / ".." / "gone")
    for other in ("b", "gone", "a\0"):
        assert not files.is_same_file(Path("a"), Path(other))


def test_staged_directory_appears_whole(tmp_path):
    with files.staged_directory(tmp_path / "target") as staging:
        (staging / "file").write_bytes(b"x")
        assert not (tmp_path / "target").exists()

    assert [child.name for child in tmp_path.iterdir()] == ["target"]


def test_a_failed_staging_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="parity"), files.staged_directory(tmp_path / "target"):
        raise ValueError("parity")

    assert list(tmp_path.iterdir()) == []


def test_staging_refuses_an_existing_target(tmp_path):
    with pytest.raises(FileExistsError), files.staged_directory(tmp_path):
        pass


@pytest.fixture
def killed_beside(tmp_path):
    """Run statements with `staging` beside `tmp_path/target` in a process that is then killed."""

    def kill(statements=""):
        program = (
            "import os, pathlib\n"
            "from lineup.files import temporary_directory_beside\n"
            f"target = pathlib.Path({str(tmp_path / 'target')!r})\n"
            "with temporary_directory_beside(target) as staging:\n"
            "    (staging / 'part').touch()\n"
            f"    {statements}\n"
            "    os.kill(os.getpid(), 9)\n"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9

    return kill


def test_what_a_killed_process_staged_is_removed_by_the_next(tmp_path, killed_beside):
    killed_beside()
    assert [child.name for child in tmp_path.glob(".target.*/new/*")] == ["part"]

    with files.staged_directory(tmp_path / "target"):
        assert not list(tmp_path.glob(".target.*/new/*"))

    assert [child.name for child in tmp_path.iterdir()] == ["target"]


def test_folders_of_the_living_and_of_others_stay(tmp_path, killed_beside):
    killed_beside()
    others = [tmp_path / ".target.backup", tmp_path / ".target.lineup-without-lock"]
    for other in others:
        other.mkdir()

    target = tmp_path / "target"
    with files.temporary_directory_beside(tmp_path / "target2") as unlike:
        with files.temporary_directory_beside(target) as first:
            with files.temporary_directory_beside(target) as second:
                assert first != second
                assert first.is_dir()
            assert first.is_dir()
        assert unlike.is_dir()

    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_all_that_the_dead_left_goes_whoever_lives_among_them(tmp_path, monkeypatch):
    def temporary():
        return files.temporary_directory_beside(tmp_path / "target")

    remove = files._remove_abandoned
    monkeypatch.setattr(files, "_remove_abandoned", lambda _: None)
    with temporary() as one, temporary() as other:
        for name in "abc":
            dead = tmp_path / f".target.lineup-{name}"
            dead.mkdir()
            (dead / files.STAGING_LOCK_NAME).touch()
        remove(tmp_path / "target")
        assert sorted(tmp_path.iterdir()) == sorted((one.parent, other.parent))


def test_a_folder_that_another_process_removed_is_no_failure(tmp_path):
    with files.temporary_directory_beside(tmp_path / "target") as staging:
        shutil.rmtree(staging.parent, ignore_errors=True)  # as it may once the lock is given back

    assert list(tmp_path.iterdir()) == []


def test_a_folder_put_aside_by_a_killed_process_is_kept_until_the_target_is_there(
    tmp_path, killed_beside
):
    target = tmp_path / "target"
    target.mkdir()
    killed_beside("target.rename(staging.with_name('old'))")

    with files.temporary_directory_beside(target):
        assert len(list(tmp_path.glob(".target.*/old"))) == 1
    target.mkdir()
    with files.temporary_directory_beside(target):
        assert not list(tmp_path.glob(".target.*/old"))


def test_a_folder_that_is_gone_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    acquire, gone = filelock.FileLock.acquire, []

    def late(lock, *arguments, **options):
        if not gone:  # another process took it for abandoned
            gone.append(Path(lock.lock_file).parent)
            shutil.rmtree(gone[0])
            raise FileNotFoundError
        return acquire(lock, *arguments, **options)

    monkeypatch.setattr(filelock.FileLock, "acquire", late)
    with files.temporary_directory_beside(tmp_path / "target") as staging:
        assert staging.is_dir()
        assert staging.parent != gone[0]

    assert not list(tmp_path.iterdir())


def test_without_locks_nothing_is_taken_for_abandoned(tmp_path, killed_beside, monkeypatch):
    killed_beside()

    def unsupported(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", unsupported)
    with files.staged_directory(tmp_path / "target"):
        pass

    assert len(list(tmp_path.glob(".target.*/new/part"))) == 1
    assert (tmp_path / "target").is_dir()


def test_hashes_agree(tmp_path):
    data = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(data)

    assert files.sha256_from_bytes(data) == hashlib.sha256(data).hexdigest()
    assert files.sha256_from_file(tmp_path / "file") == files.sha256_from_bytes(data)
