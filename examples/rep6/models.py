"""The two laws under comparison, WS and phi-eta.

Each has two parameters, a velocity V0 (km/s) and a length s (kpc), and one shape:

    V(r) = V0 * f(r / s)

so a law is f and its logarithmic slope, and the fit needs nothing else of it.

WS, a core: density rho0 / (1 + (r/rc)^2), the pseudo-isothermal sphere; its density slope tends to 0 inwards.

    V(r) = Vinf * sqrt(1 - arctan(x)/x),                 x = r/rc,      Vinf^2 = 4 pi G rho0 rc^2
    Begeman, Broeils & Sanders 1991, MNRAS 249, 523

phi-eta, a cusp: the potential phi as a function of the reduced radius eta; its density goes as 1/r inwards
(the NFW halo: rho = rhos / (eta (1 + eta)^2)).

    phi(eta) = -Vs^2 ln(1 + eta)/eta,                    eta = r/rs,    Vs^2 = 4 pi G rhos rs^2
    V(r)^2 = eta dphi/deta = Vs^2 (ln(1 + eta)/eta - 1/(1 + eta))
    Navarro, Frenk & White 1996, ApJ 462, 563
"""

from math import atan, log1p, sqrt
from typing import Callable, NamedTuple, Tuple


class Model(NamedTuple):
    """A law V(r) = V0 f(r/s)."""

    name: str
    formula: str
    velocity: str  # how V0 is called, in km/s
    length: str  # how s is called, in kpc
    shape: Callable[[float], Tuple[float, float]]  # x -> f(x), d ln f / d ln x


def ws_shape(x):
    if x < 0.01:  # 1 - atan(x)/x cancels here; two terms of its series are good to 1e-8
        f2 = x * x * (1 / 3 - x * x / 5)
        return sqrt(f2), (1 / 3 - 2 * x * x / 5) / (1 / 3 - x * x / 5)
    t = atan(x) / x
    f2 = 1 - t
    return sqrt(f2), (t - 1 / (1 + x * x)) / (2 * f2)


def phi_eta_shape(x):
    if x < 1e-4:  # the same cancellation; x/2 - 2x^2/3
        f2 = x * (1 / 2 - 2 * x / 3)
        return sqrt(f2), (1 / 2 - 4 * x / 3) / (1 - 4 * x / 3)
    t = log1p(x) / x
    u = 1 / (1 + x)
    f2 = t - u
    return sqrt(f2), (u - t + x * u * u) / (2 * f2)


WS = Model("WS", "V = V∞ √(1 − arctan(x)/x), x = r/r_c", "v_inf", "r_c", ws_shape)
PHI_ETA = Model("phi-eta", "V = V_s √(ln(1 + η)/η − 1/(1 + η)), η = r/r_s", "v_s", "r_s", phi_eta_shape)
MODELS = (WS, PHI_ETA)


def velocity(model, v0, s, r):
    """Circular velocity in km/s at radius `r` in kpc."""
    return v0 * model.shape(r / s)[0]
