import torch

from lesionforge.seeding import torch_stream
from lesionforge.synthesis.spade.style import StyleEncoder, encode_scan


def make_encoder() -> StyleEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StyleEncoder(images=2, style_dim=4, features=(4, 4, 4)).eval()


def make_scan(*size: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch_stream(0, "scan", *size)
    tissues = torch.rand(3, *size, generator=draw)
    return torch.rand(2, *size, generator=draw), tissues / tissues.sum(0)


def test_a_scan_of_one_patch_has_its_code():
    encoder, (images, tissues) = make_encoder(), make_scan(16, 16, 16)
    expected, _ = encoder(images[None], tissues[None])
    assert torch.allclose(encode_scan(encoder, images, tissues, 16), expected[0], atol=1e-6)


def test_a_scan_has_the_mean_code_of_its_patches():
    encoder, (images, tissues) = make_encoder(), make_scan(32, 16, 16)
    codes = [encoder(images[None, :, x : x + 16], tissues[None, :, x : x + 16])[0] for x in (0, 16)]
    expected = torch.stack(codes).mean(0)[0]
    assert torch.allclose(encode_scan(encoder, images, tissues, 16), expected, atol=1e-5)


def test_patches_without_brain_do_not_count():
    encoder, (images, tissues) = make_encoder(), make_scan(32, 16, 16)
    images[:, 16:], tissues[:, 16:] = 0, 0
    part = encode_scan(encoder, images[:, :16], tissues[:, :16], 16)
    assert torch.allclose(encode_scan(encoder, images, tissues, 16), part, atol=1e-6)


def test_small_and_empty_scans_have_finite_codes():
    encoder, (images, tissues) = make_encoder(), make_scan(9, 30, 5)
    assert encode_scan(encoder, images, tissues, 16).isfinite().all()
    assert encode_scan(encoder, 0 * images, 0 * tissues, 16).isfinite().all()


def test_the_code_tells_contrast():
    encoder, (images, tissues) = make_encoder(), make_scan(16, 16, 16)
    plain = encode_scan(encoder, images, tissues, 16)
    assert (encode_scan(encoder, images.flip(0) * 0.5, tissues, 16) - plain).abs().max() > 1e-3
