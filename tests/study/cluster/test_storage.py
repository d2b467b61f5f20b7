"""Where trials keep their state: the same on a disk and in a bucket (moto's S3 server)."""

import boto3
import pytest
import torch
from moto.server import ThreadedMotoServer

from study.cluster.storage import Storage, below, storage_of
from study.records.settings import StudySettings
from trainables.trainable import STATE_FILE


@pytest.fixture(scope="module")
def bucket():
    """The address of a folder in a bucket, as pyarrow has it."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys).create_bucket(Bucket="studies")
    yield f"s3://key:secret@studies/one?region=us-east-1&scheme=http&endpoint_override={host}%3A{port}"
    server.stop()


@pytest.fixture(params=["disk", "bucket"])
def storage(request, tmp_path):
    if request.param == "disk":
        return Storage(str(tmp_path / "tune"))
    return Storage(below(request.getfixturevalue("bucket"), tmp_path.name))


def put(storage, path, content=None):
    """A file of the storage; by default a state that torch can load."""
    storage.filesystem.create_dir(f"{storage.root}/{path}".rpartition("/")[0], recursive=True)
    with storage.filesystem.open_output_stream(f"{storage.root}/{path}") as file:
        if content is None:
            torch.save({"path": path}, file)
        else:
            file.write(content)


def there(storage, path):
    return storage.filesystem.get_file_info(f"{storage.root}/{path}").type.name != "NotFound"


def test_nothing_is_there_before_the_first_session(storage):
    assert storage.next_session() == "session-1"
    assert storage.newest_state("a") is None
    storage.forget("a")


def test_the_newest_state_is_that_of_the_last_session_and_checkpoint_that_is_whole(storage):
    for session, checkpoint in ((1, 9), (2, 10), (2, 9), (10, 1)):
        put(storage, f"session-{session}/a/checkpoint_{checkpoint:06}/{STATE_FILE}")
    put(storage, f"session-10/a/checkpoint_000002/{STATE_FILE}", b"PK\x03\x04 cut off")
    put(storage, "session-11/a/checkpoint_000001/weights.safetensors", b"no state")
    put(storage, f"session-12/b/checkpoint_000001/{STATE_FILE}")
    assert storage.next_session() == "session-13"
    newest = storage.newest_state("a")
    assert newest.partition("?")[0].endswith(f"/session-10/a/checkpoint_000001/{STATE_FILE}")
    filesystem, path = type(storage.filesystem).from_uri(newest)  # as a trial on another node opens it
    with filesystem.open_input_file(path) as file:
        assert torch.load(file, weights_only=True) == {"path": f"session-10/a/checkpoint_000001/{STATE_FILE}"}


def test_a_trials_older_checkpoints_go_and_in_the_end_all(storage):
    for session, trial, checkpoint in ((1, "a", 1), (2, "a", 1), (2, "a", 2), (2, "b", 1)):
        put(storage, f"session-{session}/{trial}/checkpoint_{checkpoint:06}/{STATE_FILE}")
    storage.keep_only(f"{storage.root}/session-2/a/checkpoint_000002")
    assert there(storage, "session-1/a/checkpoint_000001")
    assert not there(storage, "session-2/a/checkpoint_000001")
    assert there(storage, "session-2/a/checkpoint_000002")
    storage.forget("a")
    assert storage.newest_state("a") is None
    assert storage.newest_state("b") is not None


def test_a_file_is_fetched_whole_or_not_at_all(storage, tmp_path):
    put(storage, "session-1/a/checkpoint_000001/weights.safetensors", b"weights")
    storage.fetch(f"{storage.root}/session-1/a/checkpoint_000001/weights.safetensors", tmp_path / "kept")
    assert (tmp_path / "kept").read_bytes() == b"weights"
    with pytest.raises(FileNotFoundError):
        storage.fetch(f"{storage.root}/session-1/a/nothing", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_studies_have_places_of_their_own(tmp_path):
    settings = StudySettings(space="noisy_label", studies=tmp_path, name="s")
    assert storage_of(settings).root == str(tmp_path / "s" / "tune")
    shared = StudySettings(space="noisy_label", studies=tmp_path, name="s", storage=str(tmp_path / "shared"))
    assert storage_of(shared).root == str(tmp_path / "shared" / "s")
    assert below("s3://bucket/folder/?region=x", "s/a") == "s3://bucket/folder/s/a?region=x"
