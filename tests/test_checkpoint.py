"""Checkpoints as Spark writes them, and as a machine without power leaves them."""

from pathlib import Path

import pytest

from recgraph.checkpoint import require_readable
from recgraph.errors import ServiceError

FILES = {
    "metadata": '{"id":"dabc9ed5-b90f-4c46-a1ff-68f632b080f8"}',
    "offsets/8": "damaged long ago, and read no more",
    **{
        f"offsets/{n}": 'v1\n{"batchWatermarkMs":0,"conf":{}}\n{"sales":{"1":7,"0":9}}'
        for n in (9, 10)
    },
    **{f"commits/{n}": 'v1\n{"nextBatchWatermarkMs":0}' for n in (9, 10)},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_what_is_whole_or_not_there_is_fine(checkpoint: Path) -> None:
    require_readable(checkpoint)
    require_readable(checkpoint / "none")


@pytest.mark.parametrize("name", ["metadata", "offsets/10", "offsets/9", "commits/10"])
@pytest.mark.parametrize("damage", [b"rubbish", b"", b"v1\n", b"\0" * 200, b'v1\n{"batch', b"\xff"])
def test_what_is_damaged_is_named_and_how_to_go_on(
    checkpoint: Path, name: str, damage: bytes
) -> None:
    (checkpoint / name).write_bytes(damage)
    with pytest.raises(ServiceError, match=rf"{name} holds .* move that folder away") as raised:
        require_readable(checkpoint)
    assert "\n" not in str(raised.value)
    assert "\0" not in str(raised.value)
