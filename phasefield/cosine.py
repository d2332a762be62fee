"""Cosine series on cell centres along one axis, by a real FFT of the same length."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def cosine(u: Float[Tensor, "..."], axis: int) -> Float[Tensor, "..."]:
    """ûₖ = Σₙ uₙ cos(πk(n+½)/N), k = 0 … N−1 (the discrete cosine transform of type II).

    Even samples forwards, then odd ones backwards, make a sequence whose Fourier transform is
    turned by e^{−iπk/2N} into the series (Makhoul 1980, doi:10.1109/TASSP.1980.1163351).
    """
    u = u.movedim(axis, -1)
    n = u.shape[-1]
    folded = torch.cat([u[..., ::2], u[..., 1::2].flip(-1)], -1)
    turned = torch.fft.rfft(folded) * _turn(n, u, -1)
    series = torch.cat([turned.real, -turned.imag[..., 1 : (n + 1) // 2].flip(-1)], -1)
    return series.movedim(-1, axis).contiguous()


def inverse_cosine(u_hat: Float[Tensor, "..."], axis: int) -> Float[Tensor, "..."]:
    """uₙ = [û₀ + 2 Σₖ ûₖ cos(πk(n+½)/N)] / N."""
    u_hat = u_hat.movedim(axis, -1)
    n = u_hat.shape[-1]
    mirrored = torch.zeros_like(u_hat[..., : n // 2 + 1])
    mirrored[..., 1:] = u_hat[..., (n + 1) // 2 :].flip(-1)
    turned = torch.complex(u_hat[..., : n // 2 + 1], -mirrored)
    folded = torch.fft.irfft(turned * _turn(n, u_hat, 1), n=n)
    u = torch.empty_like(u_hat)
    half = (n + 1) // 2
    u[..., ::2], u[..., 1::2] = folded[..., :half], folded[..., half:].flip(-1)
    return u.movedim(-1, axis).contiguous()


def of_parts(series: Callable[[Tensor, int], Tensor], u: Tensor, axis: int) -> Tensor:
    """A real series, of the real and imaginary parts where another axis holds modes already."""
    if not u.is_complex():
        return series(u, axis)
    return torch.complex(series(u.real, axis), series(u.imag, axis))


def _turn(n: int, like: Tensor, sign: int) -> Tensor:
    angle = math.pi / (2 * n) * torch.arange(n // 2 + 1, dtype=like.dtype, device=like.device)
    return torch.polar(torch.ones_like(angle), sign * angle)
