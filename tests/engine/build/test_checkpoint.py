"""Files that are not the reference's checkpoint are refused with what is wrong in them."""

import math
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.build.checkpoint import find_faults, import_checkpoint, read_state_dict
from engine.build.reference import SRM_KEY, key_table
from engine.errors import BundleInvalid
from engine.network.variants import build_lv_xception

COUNTERS = ("running_mean", "running_var", "num_batches_tracked")


def stand_ins(*, projection: bool = False) -> dict[str, Tensor]:
    """Tensors of the right names and shapes that share one number each, so that files stay small."""
    shapes = key_table(projection=projection).shapes
    return {key: torch.zeros(1).expand(shape) if shape else torch.tensor(0) for key, shape in shapes.items()}


def saved(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("projection", "count", "parameters"), [(False, 695, 63_429_742), (True, 701, 63_617_566)]
)
def test_the_table_has_the_reference_s_keys_and_parameters(
    projection: bool, count: int, parameters: int
) -> None:
    shapes = key_table(projection=projection).shapes
    assert len(shapes) == count
    assert sum(math.prod(s) for k, s in shapes.items() if not k.endswith(COUNTERS)) == parameters


@pytest.mark.parametrize(
    ("prefix", "keys", "parameters"),
    [
        ("xception_rgb.", 276, 20_811_050),
        ("xception_srm.", 276, 20_811_050),
        ("HBFusion.", 6, 16_490_496),
        ("cmc0.", 17, 74_112),
        ("cmc1.", 17, 295_680),
        ("cmc2.", 17, 1_181_184),
        ("lfe1.", 12, 797_525),
        ("score0.", 6, 33_792),
        ("score5.", 6, 373_760),
        ("cls_header.", 7, 16_386),
        ("seg_header.", 6, 3_256),
        ("pro_header.", 6, 187_824),
    ],
)
def test_every_part_has_the_reference_s_size(prefix: str, keys: int, parameters: int) -> None:
    shapes = {k: s for k, s in key_table(projection=True).shapes.items() if k.startswith(prefix)}
    assert len(shapes) == keys
    assert sum(math.prod(s) for k, s in shapes.items() if not k.endswith(COUNTERS)) == parameters


@pytest.mark.parametrize("projection", [False, True])
def test_every_tensor_of_the_network_has_its_name_in_the_reference(projection: bool) -> None:
    with torch.device("meta"):
        own = build_lv_xception(projection=projection).state_dict()
    table = key_table(projection=projection)
    assert set(table.live) == set(own)
    for ours, theirs in table.live.items():
        assert math.prod(table.shapes[theirs]) == own[ours].numel(), ours


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_state_dict_is_found_with_and_without_its_wrappings(
    tmp_path: Path, prefix: str, wrapped: bool
) -> None:
    tensors = {prefix + "a.module.weight": torch.ones(2)}
    path = saved(tmp_path, {"epoch": 1, "state_dict": tensors} if wrapped else tensors)
    assert list(read_state_dict(path)) == ["a.module.weight"]


def test_a_complete_file_has_no_faults() -> None:
    table = key_table(projection=False)
    assert find_faults(stand_ins(), table).describe() == ""


def test_faults_are_named_by_kind(tmp_path: Path) -> None:
    tensors = stand_ins()
    del tensors["lfe0.gamma"]
    tensors["lfe0.gama"] = torch.ones(1)
    tensors["seg_header.2.weight"] = torch.zeros(2, 728, 1, 1)
    with pytest.raises(BundleInvalid) as refusal:
        import_checkpoint(saved(tmp_path, {"state_dict": tensors}))
    assert "1 missing: lfe0.gamma" in refusal.value.seen
    assert "1 unexpected: lfe0.gama" in refusal.value.seen
    assert "seg_header.2.weight (is (2, 728, 1, 1), should be (2, 814, 1, 1))" in refusal.value.seen


@pytest.mark.parametrize(
    "key", ["cmc1.stage1.0.weight", "xception_rgb.model.last_linear.1.weight", "lfe2.bn.bias"]
)
def test_tensors_that_nothing_reads_must_be_there_in_their_shape(tmp_path: Path, key: str) -> None:
    tensors = stand_ins()
    tensors[key] = torch.zeros(3, 5)
    with pytest.raises(BundleInvalid, match="misshaped"):
        import_checkpoint(saved(tmp_path, tensors))
    del tensors[key]
    with pytest.raises(BundleInvalid, match="1 missing"):
        import_checkpoint(saved(tmp_path, tensors))


@pytest.mark.parametrize("key", ["score0.bn.weight", "cls_header.5.weight", "lfe0.gamma"])
def test_a_shape_is_not_the_same_for_more_ones_at_its_end(key: str) -> None:
    table = key_table(projection=False)
    tensors = stand_ins()
    tensors[key] = tensors[key].unsqueeze(-1)
    (told,) = find_faults(tensors, table).misshaped
    assert told.startswith(f"{key} (is {(*table.shapes[key], 1)}, should be")


def test_the_fusion_may_be_linear_layers_or_convolutions_of_one_cell() -> None:
    tensors, key = stand_ins(), "HBFusion.Trans1.weight"
    tensors[key] = tensors[key][..., None, None]
    assert not find_faults(tensors, key_table(projection=False)).describe()


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_called_so(tmp_path: Path, share: float, is_zip: bool) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({"a": torch.arange(5000.0)}, path, _use_new_zipfile_serialization=is_zip)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BundleInvalid, match="ends too early") as refusal:
        read_state_dict(path)
    assert "again" in refusal.value.hint


def test_half_a_projection_head_is_refused(tmp_path: Path) -> None:
    tensors = stand_ins(projection=True)
    del tensors["pro_header.2.weight"]
    with pytest.raises(BundleInvalid, match=r"1 missing: pro_header\.2\.weight"):
        import_checkpoint(saved(tmp_path, tensors))


def test_long_lists_are_cut_with_their_count(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid, match=r"695 missing: .* and 683 more; 1 unexpected: fc\.weight"):
        import_checkpoint(saved(tmp_path, {"fc.weight": torch.ones(2, 2)}))


def test_other_noise_filters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid, match="noise filters"):
        import_checkpoint(saved(tmp_path, stand_ins()))


@pytest.mark.parametrize(
    ("key", "value"),
    [("lfe0.gamma", math.nan), ("score0.conv.weight", math.inf), ("score0.bn.running_var", -1.0)],
)
def test_numbers_of_a_broken_training_are_refused(tmp_path: Path, key: str, value: float) -> None:
    tensors = stand_ins()
    assert SRM_KEY in tensors
    tensors[key] = torch.full((1,), value).expand(tensors[key].shape)
    with pytest.raises(BundleInvalid, match=key.replace(".", r"\.")):
        import_checkpoint(saved(tmp_path, tensors))


class _Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    path = saved(tmp_path, {"state_dict": {"a": _Trap(trap)}})
    with pytest.raises(BundleInvalid, match="not a checkpoint of tensors alone"):
        read_state_dict(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 cut off",
        b"\x80\x04.",
        pickle.dumps([1, 2]),
        b"\x00" * 300,
        b"<html>not found</html>",
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content)
    with pytest.raises(BundleInvalid) as refusal:
        read_state_dict(path)
    assert refusal.value.hint


@pytest.mark.parametrize(
    "content",
    [[1, 2], {"state_dict": 3}, {"state_dict": {"a": 1.0}}, {"a": torch.ones(1), "module.a": torch.ones(1)}],
)
def test_contents_of_other_kinds_are_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(BundleInvalid) as refusal:
        read_state_dict(saved(tmp_path, content))
    assert refusal.value.hint


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid, match="cannot be read"):
        read_state_dict(tmp_path / "none.pth")


def test_a_refusal_that_names_every_key_writes_no_list(tmp_path: Path) -> None:
    tensors = stand_ins()
    tensors["lfe0.\x1bgama"] = torch.ones(1)
    with pytest.raises(BundleInvalid, match="1 unexpected"):
        import_checkpoint(saved(tmp_path, tensors), faults_to=tmp_path / "keys.txt")
    assert not (tmp_path / "keys.txt").exists()
    assert find_faults(tensors, key_table(projection=False)).list_all() == "unexpected: lfe0.\\x1bgama\n"


FAR_OFF = {"fc.weight": torch.ones(1)}  # every key of the reference is missing, more than a message names


def test_the_list_of_a_refusal_is_replaced_by_the_next_and_gone_once_keys_fit(tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    for other in ("fc.weight", "fc.bias"):
        with pytest.raises(BundleInvalid, match=f"all of them are in {keys}"):
            import_checkpoint(saved(tmp_path, {other: torch.ones(1)}), faults_to=keys)
        assert keys.read_text().splitlines()[-1] == f"unexpected: {other}"
    with pytest.raises(BundleInvalid):  # the shapes are the reference's, and the values are nobody's
        import_checkpoint(saved(tmp_path, stand_ins()), faults_to=keys)
    assert not keys.exists()


@pytest.mark.parametrize("content", ["my keys\n", "", "missing: a\nand mine\n", "\xff"])
def test_a_file_that_is_no_list_of_keys_is_neither_replaced_nor_removed(tmp_path: Path, content: str) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(content, encoding="latin-1")
    with pytest.raises(BundleInvalid, match=f"695 missing: .*; not listed: {keys} is another file"):
        import_checkpoint(saved(tmp_path, FAR_OFF), faults_to=keys)
    with pytest.raises(BundleInvalid):
        import_checkpoint(saved(tmp_path, stand_ins()), faults_to=keys)
    assert keys.read_text(encoding="latin-1") == content


def test_a_link_under_the_name_of_the_list_is_left_alone(tmp_path: Path) -> None:
    keys, real = tmp_path / "keys.txt", tmp_path / "list.txt"
    real.write_text("missing: a\n")
    keys.symlink_to(real)
    with pytest.raises(BundleInvalid, match="is another file"):
        import_checkpoint(saved(tmp_path, FAR_OFF), faults_to=keys)
    assert keys.is_symlink()
    assert real.read_text() == "missing: a\n"
