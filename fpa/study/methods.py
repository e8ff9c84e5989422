"""The methods and the metrics of the study: what they are called, and how they are drawn everywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Method:
    """How a method is drawn, and the fixed-point map whose residuals it reports."""

    name: str
    color: str
    line: Any = "-"
    map: str = "scs"


@dataclass(frozen=True)
class Metric:
    """A measured quantity: its name in words, its definition (without unit), and whether it needs a point (tau > 0)."""

    name: str
    title: str
    definition: str
    of_point: bool = True


# What does the same on another map has the same colour and dash.
METHODS = {
    method.name: method
    for method in (
        Method("SCS", "#555555"),
        Method("SCS+AA", "#E69F00", (0, (4, 1.5))),
        Method("SCS+AA-II", "#8C510A", (0, (1.5, 1))),
        Method("SCS tuned", "#009E73", (0, (1, 1)), map="tuned"),
        Method("SCS tuned+AA", "#117733", (0, (4, 1.5)), map="tuned"),
        Method("SCS constant metric", "#000000", (0, (3, 1, 1, 1)), map="learned"),
        Method("SCS constant metric+AA", "#999933", (0, (4, 1.5)), map="learned"),
        Method("SCS constant metric+Neural-MLP", "#332288", (0, (6, 1.5, 1, 1.5)), map="learned"),
        Method("SCS+Neural", "#0072B2"),
        Method("SCS+Neural-MLP", "#D55E00"),
        Method("SCS+Neural-MLP safe", "#CC79A7", (0, (6, 1.5, 1, 1.5))),
        Method("SCS learned metric", "#56B4E9", (0, (3, 1, 1, 1)), map="learned"),
        Method("SCS learned metric+AA", "#6A3D9A", (0, (4, 1.5)), map="learned"),
        Method("SCS learned metric+Neural-MLP", "#B15928", (0, (6, 1.5, 1, 1.5)), map="learned"),
        Method("DR", "#555555", map="dr"),
        Method("DR tuned", "#009E73", (0, (1, 1)), map="dr"),
        Method("DR tuned+AA", "#117733", (0, (4, 1.5)), map="dr"),
        Method("DR Giselsson-Boyd", "#8C6D31", (0, (1.5, 1)), map="dr"),
        Method("DR constant metric", "#000000", (0, (3, 1, 1, 1)), map="dr"),
        Method("DR learned metric", "#56B4E9", (0, (3, 1, 1, 1)), map="dr"),
        Method("DR learned metric+AA", "#6A3D9A", (0, (4, 1.5)), map="dr"),
        Method("DR oracle metric", "#CC6677", (0, (6, 1.5, 1, 1.5)), map="dr"),
        Method("ISTA released", "#BBBBBB", (0, (1, 1)), map="gradient"),
        Method("FISTA released", "#8C6D31", (0, (1, 1)), map="gradient"),
        Method("ISTA", "#888888", map="gradient"),
        Method("FISTA", "#000000", (0, (4, 1.5)), map="gradient"),
        Method("FISTA+restart", "#E69F00", map="gradient"),
        Method("PG+AA", "#44AA99", (0, (4, 1.5)), map="gradient"),
        Method("Adam", "#CC6677", map="gradient"),
        Method("AdamHD", "#AA4466", (0, (6, 1.5, 1, 1.5)), map="gradient"),
        Method("Ada-LISTA", "#999933", (0, (1.5, 1)), map="gradient"),
        Method("L2O-DM", "#D55E00", map="gradient"),
        Method("L2O-RNNprop", "#CC79A7", map="gradient"),
        Method("L2O-PBA12", "#332288", map="gradient"),
        Method("L2O-PBA12 released", "#6A3D9A", (0, (1, 1)), map="gradient"),
        Method("L2O-PBA1", "#117733", map="gradient"),
        Method("L2O-PBA2", "#882255", map="gradient"),
        Method("L2O-PBA", "#009E73", map="gradient"),
        Method("L2O-PA", "#0072B2", map="gradient"),
        Method("L2O-P", "#B8860B", map="gradient"),
        Method("L2O-A", "#AA4499", map="gradient"),
        Method("L2O-PA safe", "#56B4E9", (0, (6, 1.5, 1, 1.5)), map="gradient"),
        Method("L2O-PA released", "#6A3D9A", (0, (1.5, 1)), map="gradient"),
        Method("L2O-PA of the Lasso", "#117733", (0, (3, 1, 1, 1)), map="gradient"),
        Method("L2O-PA of the Lasso safe", "#009E73", (0, (6, 1.5, 1, 1.5)), map="gradient"),
    )
}

METRICS = {
    metric.name: metric
    for metric in (
        Metric("fixed_point", "Fixed-point residual", r"$\|u^+ - u\|_2\,/\,R_0$", of_point=False),
        Metric(
            "fixed_point_normalized",
            r"Fixed-point residual at $\tau = 1$",
            r"$\|(x,y)^+/\tau^+ - (x,y)/\tau\|_2$",
        ),
        Metric("primal", "Primal residual", r"$\|Ax + s - b\|_2\,/\,(1 + \|b\|_2)$"),
        Metric("dual", "Dual residual", r"$\|A^\mathrm{T}y + c\|_2\,/\,(1 + \|c\|_2)$"),
        Metric("gap", "Duality gap", r"$|c^\mathrm{T}x + b^\mathrm{T}y|\,/\,(1 + |c^\mathrm{T}x| + |b^\mathrm{T}y|)$"),
        Metric("tau", r"Scaling $\tau$", r"$\tau$", of_point=False),
        Metric("error", "Squared error", r"$\|x - x^\star\|_2^2$"),
        Metric("objective", "Relative objective gap", r"$(F(x) - F^\star)\,/\,F^\star$"),
    )
}

# Which maps' values of a metric may be compared: a fixed-point residual belongs to the map that is iterated.
_ALL_MAPS = {method.map for method in METHODS.values()}
COMPARABLE = {
    "fixed_point": {"scs"},
    "fixed_point_normalized": {"scs"},
    "primal": _ALL_MAPS,
    "dual": _ALL_MAPS,
    "gap": _ALL_MAPS,
    "tau": {"scs"},
    "error": _ALL_MAPS,
    "objective": _ALL_MAPS,
}


def chosen(methods: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Those of the methods that are named, or all where none is."""
    return {name: solvers for name, solvers in methods.items() if name in names or not names}
