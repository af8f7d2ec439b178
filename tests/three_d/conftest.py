import pytest
import torch

from tests.three_d.stub import stub

__all__ = ["stub", "tiny"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder of flows with random weights, and one of its autoencoders beside it."""
    from fewstep.core import checkpoint
    from fewstep.three_d.pretrained import packed

    root = tmp_path_factory.mktemp("shapes")
    small = {"channels": 24, "heads": 2, "encoder_blocks": 1, "decoder_blocks": 1}
    flow = {"model_channels": 24, "cond_channels": 24, "num_blocks": 1, "num_heads": 2, "share_mod": True}
    home = "fewstep.three_d.models"
    told = {"_target_": f"{home}.condition.Condition", "vocabulary": 99, "channels": 24, "heads": 2, "picture": 32}
    nets = {
        "structure_vae": {"_target_": f"{home}.structure_vae.StructureVae", "resolution": 6, "latent": 4, **small},
        "slat_vae": {"_target_": f"{home}.slat_vae.SlatVae", "resolution": 6, "block": 3, "latent": 4, **small},
    }
    flows = {
        "structure": {"_target_": f"{home}.structure_flow.StructureFlow", "resolution": 2, **flow},
        "slat": {"_target_": f"{home}.slat_flow.SlatFlow", "resolution": 6, **flow},
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, model in nets.items():
            net = _built(model)
            checkpoint.export(root / name, net, {"kind": f"shapes-{name.replace('_', '-')}", "model": model})
        packed(root / "vae", structure=root / "structure_vae", slat=root / "slat_vae")
        for name, part in flows.items():
            part = part | {"in_channels": 4, "out_channels": 4}
            model = {"_target_": f"{home}.condition.ToldFlow", "flow": part, "condition": told}
            net = _built(model)
            for value in net.parameters():
                value.data.add_(0.05 * torch.randn_like(value))
            config = {
                "kind": "diffusion", "model": model, "path": {"_target_": "fewstep.core.paths.rectified_flow"},
                "parameterization": "flow", "steps": 3,
            }  # fmt: skip
            checkpoint.export(root / name, net, config)
    settings = {"guidance_scale": 2.0, "interval": [0.5, 1.0], "shift": 3.0}
    packed(root / "flow", structure=root / "structure", slat=root / "slat", vae="vae", settings=settings)
    return root


def _built(model):
    from fewstep.core.build import build

    return build(model)
