"""Encoders from the hub as condition: small random ones in a folder, since tests have no network."""

import pytest
import torch

from fewstep.core import checkpoint
from fewstep.core.errors import UsageError
from fewstep.three_d.models.condition import Condition, StructureFlow, ToldFlow
from fewstep.three_d.text import LENGTH, VOCABULARY, encode

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers

    from fewstep.three_d.models.encoders import _transformers

    transformers = _transformers()
    folder = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    words, eye = folder / "words", folder / "eye"
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = size | {"intermediate_size": 64, "vocab_size": 128, "max_position_embeddings": 32, "eos_token_id": 2}
    vision = size | {"intermediate_size": 64, "image_size": 32, "patch_size": 16}
    transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(words)
    table = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[END]", *VOCABULARY])}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(words)
    transformers.Dinov2Model(transformers.Dinov2Config(**size, image_size=56, patch_size=14)).save_pretrained(eye)
    return {"words_by": str(words), "pictures_by": str(eye)}


@pytest.fixture
def condition(encoders):
    from fewstep.three_d.models.encoders import HubCondition

    torch.manual_seed(1)
    return HubCondition(**encoders, channels=16, heads=2, seen_at=56).eval()


def told(prompt, n=2):
    words = torch.from_numpy(encode(prompt).ids)[None].repeat(n, 1)
    return words, torch.zeros(n, 4, 64, 64)


@torch.no_grad()
def test_words_and_pictures_change_what_is_told(condition):
    words, image = told("a red chair")
    plain = condition(words, image)
    assert plain.shape == (2, LENGTH + 2 + 17, 16)
    assert torch.equal(plain[0], plain[1])
    assert not torch.allclose(condition(told("a blue chair")[0], image), plain, atol=1e-3)
    seen = image.clone()
    seen[1, :, 16:48, 16:48] = torch.tensor([1.0, 0, 0, 1])[:, None, None]
    both = condition(words, seen)
    assert torch.allclose(both[0], plain[0], atol=1e-6)
    assert not torch.allclose(both[1], plain[1], atol=1e-3)


@torch.no_grad()
def test_what_is_behind_the_silhouette_is_not_seen(condition):
    words, image = told("a mug", 2)
    image[:, :, 20:40, 20:40] = 1
    image[1, :3, :10] = 0.7  # where alpha is 0
    both = condition(words, image)
    assert torch.allclose(both[0], both[1], atol=1e-6)


def test_encoders_are_neither_trained_nor_saved(condition, tmp_path):
    flow = StructureFlow(model_channels=32, cond_channels=16, num_blocks=1, num_heads=2)
    net = ToldFlow(flow=flow, condition=condition)
    keys = net.state_dict().keys()
    assert not any("embeddings" in key or "encoder" in key for key in keys)
    words, image = told("a red chair")
    image[:, :, 16:48, 16:48] = 1
    x = torch.randn(2, flow.in_channels, *[flow.resolution] * 3)
    torch.nn.init.normal_(net.flow.out_layer.weight)
    net(x, torch.full((2,), 0.5), {"words": words, "image": image}).square().sum().backward()
    assert net.condition.words_in[1].weight.grad is not None
    assert all(value.grad is None for frozen in condition._frozen for value in frozen.parameters())


def test_an_unknown_encoder_is_named(encoders, tmp_path):
    from fewstep.three_d.models.encoders import HubCondition

    with pytest.raises(UsageError, match="no encoder that transformers can load"):
        HubCondition(**encoders | {"pictures_by": str(tmp_path)})


def test_the_network_may_be_forbidden(encoders, monkeypatch):
    from fewstep.three_d.models.encoders import HubCondition

    monkeypatch.setenv("FEWSTEP_OFFLINE", "1")
    with pytest.raises(UsageError, match="FEWSTEP_OFFLINE"):
        HubCondition(**encoders | {"pictures_by": "facebook/dinov2-small"})


def test_a_checkpoint_finds_its_encoders_again(condition, encoders, tmp_path):
    flow = StructureFlow(model_channels=32, cond_channels=16, num_blocks=1, num_heads=2)
    settings = {"model_channels": 32, "cond_channels": 16, "num_blocks": 1, "num_heads": 2}
    model = {
        "_target_": "fewstep.three_d.models.condition.ToldFlow",
        "flow": {"_target_": "fewstep.three_d.models.structure_flow.StructureFlow", **settings},
        "condition": {
            "_target_": "fewstep.three_d.models.encoders.HubCondition",
            **encoders,
            "channels": 16,
            "heads": 2,
            "seen_at": 56,
        },
    }
    net = ToldFlow(flow=flow, condition=condition)
    checkpoint.export(tmp_path / "flow", net, {"kind": "diffusion", "model": model})
    again, _ = checkpoint.load(tmp_path / "flow", kind="diffusion")
    words, image = told("a green bottle")
    with torch.no_grad():
        assert torch.allclose(again.condition(words, image), condition(words, image), atol=2e-2)
    assert isinstance(Condition(vocabulary=5).length, int)
