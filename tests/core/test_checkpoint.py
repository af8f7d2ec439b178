import pickle

import pytest
import torch
import yaml
from torch import nn

from fewstep.core.checkpoint import export, load, load_weights_only, sha256
from fewstep.core.errors import UsageError

CONFIG = {"kind": "toy", "model": {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}, "steps": 2}


@pytest.fixture
def exported(tmp_path):
    return export(tmp_path / "model", nn.Linear(3, 2), CONFIG)


def _rewrite(folder, **changes):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(config | changes))


def test_stores_half_and_loads_single(tmp_path):
    module = nn.BatchNorm1d(4)
    module.weight.data.uniform_(0.5, 2.0)
    config = {"kind": "toy", "model": {"_target_": "torch.nn.BatchNorm1d", "num_features": 4}}
    loaded, read = load(export(tmp_path, module, config), kind="toy")
    assert loaded.weight.dtype == torch.float32
    assert loaded.num_batches_tracked.dtype == torch.int64
    torch.testing.assert_close(loaded.weight, module.weight.data.half().float(), rtol=0, atol=0)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    assert read["sha256"] == sha256(tmp_path / "model.safetensors")


def test_eight_bits_with_a_scale_per_row(tmp_path):
    torch.manual_seed(0)
    module = nn.Linear(96, 64)
    with torch.no_grad():
        module.weight *= torch.logspace(-4, 4, 64)[:, None]
        module.weight[3] = 0
    config = {"kind": "toy", "model": {"_target_": "torch.nn.Linear", "in_features": 96, "out_features": 64}}
    loaded, _ = load(export(tmp_path / "small", module, config, bits=8))
    export(tmp_path / "half", module, config)
    small, half = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("small", "half"))
    assert small < 0.56 * half
    bound = module.weight.abs().amax(1, keepdim=True) / 254
    assert ((loaded.weight - module.weight).abs() <= bound * 1.001).all()
    assert (loaded.weight[3] == 0).all()
    torch.testing.assert_close(loaded.bias, module.bias.detach().half().float(), rtol=0, atol=0)
    with pytest.raises(UsageError, match="bits is 8 or None, got 4"):
        export(tmp_path, module, config, bits=4)
    module.weight.data[0, 0] = float("nan")
    with pytest.raises(UsageError, match="weight is not finite"):
        export(tmp_path, module, config, bits=8)


def test_further_keys_come_back(exported):
    assert load(exported)[1]["steps"] == 2


def test_leaves_no_temporary_files(exported):
    assert sorted(file.name for file in exported.iterdir()) == ["config.yaml", "model.safetensors"]


def test_replaces_an_older_export(exported):
    module = nn.Linear(3, 2)
    export(exported, module, CONFIG)
    torch.testing.assert_close(load(exported)[0].weight, module.weight.data, rtol=1e-3, atol=1e-3)


def test_shared_and_transposed_weights_are_stored(tmp_path):
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    module[0].bias.data = torch.arange(6.0).reshape(3, 2).t()[0]
    export(tmp_path, module, CONFIG)
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.parametrize("config", [{"kind": "toy"}, {"model": {}}, {"kind": 3, "model": {}}])
def test_export_needs_kind_and_model(tmp_path, config):
    with pytest.raises(UsageError, match="needs 'kind'"):
        export(tmp_path, nn.Linear(1, 1), config)


def test_export_refuses_overflow(tmp_path):
    module = nn.Linear(1, 1)
    module.weight.data.fill_(1e6)
    with pytest.raises(UsageError, match=r"weight overflows in torch.float16"):
        export(tmp_path, module, CONFIG)
    export(tmp_path, module, CONFIG, dtype=torch.float32)


def test_wrong_kind(exported):
    with pytest.raises(UsageError, match="expected a checkpoint of kind 'vocoder', this one is of kind 'toy'"):
        load(exported, kind="vocoder")


def test_missing_folder_and_files(exported, tmp_path):
    with pytest.raises(UsageError, match=r"config.yaml does not exist"):
        load(tmp_path / "nowhere")
    (exported / "model.safetensors").rename(exported / "model.ckpt")
    with pytest.raises(UsageError, match=r"does not exist; model.ckpt is a pickle"):
        load(exported)


@pytest.mark.parametrize("write", [lambda file: torch.save({}, file), lambda file: file.write_bytes(pickle.dumps({}))])
def test_a_pickle_under_another_name(exported, write):
    write(exported / "model.safetensors")
    with pytest.raises(UsageError, match="is a pickle under another name"):
        load(exported)


@pytest.mark.parametrize("length", [0x280, 0x4B50])
def test_a_header_whose_length_looks_like_a_pickle(exported, length):
    file = exported / "model.safetensors"
    content = file.read_bytes()
    old = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + old].rstrip().ljust(length)
    file.write_bytes(length.to_bytes(8, "little") + header + content[8 + old :])
    assert load(exported)[0].weight.shape == (2, 3)


def test_truncated_weights(exported):
    file = exported / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UsageError, match="is not a whole safetensors file"):
        load(exported)


def test_unreadable_config(exported):
    (exported / "config.yaml").write_text("kind: [")
    with pytest.raises(UsageError, match="is not readable as YAML"):
        load(exported)
    (exported / "config.yaml").write_text("just: this")
    with pytest.raises(UsageError, match="is not a checkpoint config"):
        load(exported)


def test_names_tensors_that_do_not_fit(exported):
    _rewrite(exported, model={"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 2, "bias": False})
    with pytest.raises(UsageError, match=r"unexpected bias; weight has shape \[2, 3\], expected \[2, 4\]"):
        load(exported)
    _rewrite(exported, model={"_target_": "torch.nn.LayerNorm", "normalized_shape": 3, "elementwise_affine": False})
    with pytest.raises(UsageError, match="unexpected"):
        load(exported)
    _rewrite(exported, model={"_target_": "torch.nn.Bilinear", "in1_features": 3, "in2_features": 3, "out_features": 2})
    with pytest.raises(UsageError, match="does not fit the model of its config"):
        load(exported)


def test_names_missing_tensors(tmp_path):
    export(tmp_path, nn.Linear(3, 2, bias=False), CONFIG)
    with pytest.raises(UsageError, match="missing bias"):
        load(tmp_path)


def test_many_faults_are_counted(tmp_path):
    layers = [{"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}] * 5
    export(tmp_path, nn.Linear(1, 1), {"kind": "toy", "model": {"_target_": "torch.nn.ModuleList", "modules": layers}})
    with pytest.raises(UsageError, match="and 7 more"):
        load(tmp_path)


def test_config_must_build_a_module(exported):
    _rewrite(exported, model={"_target_": "fewstep.core.signatures.shown", "thing": 3})
    with pytest.raises(UsageError, match="expected the class of a torch module"):
        load(exported)
    _rewrite(exported, model="torch.nn.Linear")
    with pytest.raises(UsageError, match="'model' names None, expected the class of a torch module"):
        load(exported)


def test_config_cannot_run_anything(exported):
    _rewrite(exported, model={"_target_": "os.system", "command": "true"})
    with pytest.raises(UsageError, match="is not allowed"):
        load(exported)


class _Boom:
    def __reduce__(self):
        return (print, ("ran",))


def test_weights_only_never_runs_code(tmp_path, capsys):
    torch.save({"state_dict": _Boom()}, tmp_path / "bad.ckpt")
    with pytest.raises(UsageError, match="is not a checkpoint of plain tensors"):
        load_weights_only(tmp_path / "bad.ckpt")
    assert "ran" not in capsys.readouterr().out


def test_weights_only_reads_plain_tensors(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(2)}}, tmp_path / "good.ckpt")
    assert load_weights_only(tmp_path / "good.ckpt")["state_dict"]["w"].tolist() == [1, 1]


def test_weights_only_errors(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        load_weights_only(tmp_path / "none.ckpt")
    (tmp_path / "half.ckpt").write_bytes(b"PK\x03\x04broken")
    with pytest.raises(UsageError, match="is not a checkpoint of plain tensors"):
        load_weights_only(tmp_path / "half.ckpt")
    torch.save(torch.ones(1), tmp_path / "tensor.ckpt")
    with pytest.raises(UsageError, match="holds a Tensor, expected a mapping"):
        load_weights_only(tmp_path / "tensor.ckpt")
