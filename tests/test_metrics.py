"""Learned metrics: how they are trained, on which splittings, and what is measured of them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from helpers import ACCELERATORS
from models import KALMAN, draw, flat, kalman_layout, standard

import fpa
from fpa.accelerators import Normalizer, SiteNetwork, SiteTrunk, context_network
from fpa.accelerators.features import Features, first_features
from fpa.study import cost, metric_errors, metric_plots, metric_results, metric_scs, metrics, schedules

TOY = fpa.BoxQP()
RECIPE = metrics.Recipe("KKT residuals", 4, 2, 3, 4, 0.003, 6, 1)


def _normalizer(family=TOY):
    size = draw(family).context.size
    return Normalizer(jnp.zeros(size, jnp.float32), jnp.ones(size, jnp.float32))


def _random_metric(family, seed=0, spread=30.0, through=None):
    network = context_network(jax.random.key(seed), draw(family), _normalizer(family), 8, 1)
    return fpa.LearnedMetric(jax.tree.map(lambda leaf: spread * leaf, network), through)


@pytest.fixture(scope="module")
def of_another_seed(tmp_path_factory):
    """Weights of an instance in a metric that was trained from another seed."""
    trained, _ = metrics.train(
        metrics.TrainingSet(TOY, 1, 16), RECIPE, tmp_path_factory.mktemp("other") / "a.checkpoint"
    )
    return fpa.member(trained, 0).splitting.metric(draw(TOY))[1]


@pytest.mark.parametrize("loss", metrics.OBJECTIVES)
@pytest.mark.parametrize("start", [False, True])
def test_training_changes_every_network_and_goes_on_from_a_checkpoint(loss, start, of_another_seed, tmp_path):
    recipe = metrics.Recipe(loss, 4, 2, 3, 4, 0.003, 6, 1, start)
    data = metrics.TrainingSet(TOY, 0, 16)
    first, history = metrics.train(data, recipe, tmp_path / "a.checkpoint")
    second, _ = metrics.train(metrics.TrainingSet(TOY, 0, 16), recipe, tmp_path / "a.checkpoint")
    assert history["updates"] == [3] and np.isfinite(history["losses"]).all()
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True))
    one, other = (fpa.member(first, k) for k in (0, 1))
    trained = [
        one.splitting.metric.factors[1].network.mlp,
        *([one.accelerator.initializer.network.mlp] if start else []),
    ]
    assert all(float(jnp.abs(layer.bias).max()) > 0 for mlp in trained for layer in mlp.layers)
    weights = [solver.splitting.metric(draw(TOY))[1] for solver in (one, other)]
    assert len({tuple(np.asarray(w)) for w in (*weights, of_another_seed)}) == 3


def test_training_makes_the_toy_faster(tmp_path):
    recipe = metrics.Recipe("distance to the solution", 5, 1, 150, 32, 0.01, 16, 1)
    trained, _ = metrics.train(metrics.TrainingSet(TOY, 0, 256), recipe, tmp_path / "a.checkpoint")
    instances = metric_errors.Instances(TOY, 0, 20)
    plain, learned = (
        instances.curves([solver], 5).mean("error")[-1]
        for solver in (fpa.Solver(fpa.DouglasRachford()), fpa.member(trained, 0))
    )
    assert learned < plain / 3


@pytest.mark.parametrize("name", ["picard", "safeguarded"])
@pytest.mark.parametrize("through", [None, fpa.SCS()], ids=["context", "through"])
def test_a_learned_metric_on_scs_has_the_same_solution(name, through):
    """With weights from end to end of their bounds, constant within every second-order cone."""
    program = draw(KALMAN)
    answer = KALMAN.canonical.c.base.size + 2 * KALMAN.canonical.b.base.size
    features = first_features(fpa.SCS().bind(program))
    seen = features if through else Features(jnp.zeros((1, 0)), jnp.zeros(0), program.context)
    network = jax.tree.map(lambda leaf: 3 * leaf, flat(jax.random.key(0), seen, answer))
    metric = fpa.LearnedMetric(network, through, bounds=(0.1, 10.0))
    x, s = metric(program)
    assert x.max() > 3 * x.min() and s.max() > 3 * s.min()
    np.testing.assert_allclose(program.cone.average(s), s, rtol=1e-12)
    expected = fpa.Solver(fpa.SCS(), ACCELERATORS["safeguarded"]).solve(program, tol=1e-9, max_steps=100_000)
    solution = fpa.Solver(fpa.SCS(metric=metric), ACCELERATORS[name]).solve(program, tol=1e-8, max_steps=200_000)
    assert solution.status == expected.status == fpa.Status.SOLVED
    np.testing.assert_allclose(program.c @ solution.point.x, program.c @ expected.point.x, rtol=1e-5, atol=1e-6)


def test_an_untrained_site_network_is_the_default_metric():
    program = draw(KALMAN)
    seen = standard(jax.eval_shape(lambda: first_features(fpa.SCS().bind(program))))
    trunk = SiteTrunk(jax.random.key(0), kalman_layout(), seen, (True, False), 8, 8, 1)
    metric = fpa.LearnedMetric(SiteNetwork(trunk), fpa.SCS())
    plain, ours = (fpa.Solver(fpa.SCS(metric=m)).trace(program, 20) for m in (fpa.ConstantMetric(), metric))
    np.testing.assert_allclose(ours.primal, plain.primal, rtol=1e-9)


@pytest.mark.parametrize("spread", [1e4, np.nan])
def test_no_network_makes_it_diverge(spread):
    metric = _random_metric(TOY, spread=spread)
    weights = np.concatenate(metric(draw(TOY)))
    assert np.all((weights >= 1e-3) & (weights <= 1e3))
    solution = fpa.Solver(fpa.DouglasRachford(metric)).solve(draw(TOY), tol=1e-6, max_steps=200_000)
    assert solution.status == fpa.Status.SOLVED


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (2.0, 1.0), (1.0, np.inf)])
def test_bounds_that_bound_nothing_are_named(bounds):
    network = context_network(jax.random.key(0), draw(TOY), _normalizer())
    with pytest.raises(ValueError, match="LearnedMetric: bounds must be positive"):
        fpa.LearnedMetric(network, bounds=bounds)


@pytest.mark.parametrize("name", metrics.OBJECTIVES)
def test_objectives_are_what_they_say(name):
    program, objective = draw(TOY), metrics.OBJECTIVES[name](6)
    solver = fpa.Solver(fpa.DouglasRachford())
    terms = objective.terms(solver, program, objective.target(program))
    op = fpa.DouglasRachford().bind(program)
    z = op.initial()
    for _ in range(6):
        before, (z, point) = z, op(z)
    residuals = program.residuals(point)
    expected = {
        "distance to the solution": jnp.sum((point.x - metrics.REFERENCE.solve(program, 1e-10).point.x) ** 2),
        "KKT residuals": residuals.primal**2 + residuals.dual**2 + residuals.gap**2,
        "fixed-point gap": jnp.sum((z - before) ** 2),
    }
    np.testing.assert_allclose(terms, expected[name], rtol=1e-6)


def test_scalars_are_never_worse_than_the_identity():
    grid = {"x": (0.0, 1.0), "s": (1.0, 4.0), "relaxation": (1.0, 1.5)}
    best = metrics.tuned(TOY, 6, 0, 8, grid)
    parameters = fpa.sample_batch(TOY, fpa.role_key(0, "tune"), 8)
    solutions = metrics.solutions_of(TOY, parameters)
    plain = metrics.measure(fpa.Solver(fpa.DouglasRachford()), TOY, parameters, solutions, 6)["error"]
    found = metrics.measure(metrics.baselines(TOY, best)["DR tuned"], TOY, parameters, solutions, 6)["error"]
    np.testing.assert_allclose(found[:, -1].mean(), best["error"], rtol=1e-6)
    assert best["error"] <= plain[:, -1].mean()


def test_separation_is_the_share_of_pairs_in_order():
    weights = {
        "weight": np.array([[4.0, 3.0], [1.0, 2.0]]),
        "slack": np.array([[0.0, 0.0], [1.0, 0.0]]),
        "multiplier": np.array([[1.0, 0.0], [0.0, 2.0]]),
    }
    found = metric_errors.separation(weights)
    assert found["active"] == 0.5 and found["AUC"] == 0.75 and found["median weight, active"] == 3.0


def test_what_is_shown_of_a_metric_can_be_drawn():
    metric, methods = _random_metric(TOY, spread=1.0), {"DR": [fpa.Solver(fpa.DouglasRachford())]}
    instances = metric_errors.Instances(TOY, 0, 5)
    found = instances.weights(metric)
    assert {value.shape for value in found.values()} == {(5, 4)}
    planes = metric_errors.planes(TOY, metric, 2.0, points=5)
    assert len(planes) == 4 * 25 and planes.groupby("constraint")["active"].any().all()
    at_corner = planes[(planes["p1"] == 2) & (planes["p2"] == -2) & (planes["constraint"] == 1)]["weight"]
    program = TOY.program({"p": jnp.array([2.0, -2.0])})
    np.testing.assert_allclose(at_corner, metric(program)[1][0])
    costs = cost.cost(TOY, methods, fpa.role_key(0, "test"), 4, [2])
    frame = pd.DataFrame(
        {"method": "DR", "metric": "error", "iteration": [1, 2], "mean": [0.1, 0.01], "num_instances": 5}
    )
    for figure in (
        metric_plots.scatter(found, "toy"),
        metric_plots.draw_planes(planes, "toy"),
        cost.draw_cost(cost.over_time(costs, frame, methods, 2), "toy", ["error"], 2, "log"),
    ):
        figure.canvas.draw()
    ends = instances.solved(methods["DR"][0])
    assert ends["solved"] == 1.0 and ends["iterations"] > 5 and ends["instances"] == 5


def test_errors_are_told_with_their_spread_and_median():
    error = np.array([[[1.0, 2.0], [3.0, 0.0], [5.0, 7.0]], [[1.0, 4.0], [3.0, 2.0], [5.0, 9.0]]])
    curves = fpa.Curves({"error": error}, np.ones(error.shape, bool))
    told = metric_errors.summary(curves, [1, 2], 2)
    means = np.array([3.0, 1.0, 8.0])  # of an instance, over two models
    assert told == {"at 1": 3.0, "at 2": 4.0, "± at 2": means.std(ddof=1) / np.sqrt(3), "median at 2": 3.0}


def test_gains_and_their_correlations():
    rows = [
        {
            "n": n,
            "ratio": ratio,
            "identity": 10.0 * ratio,
            "tuned": 2.0 / n,
            "constant": n * ratio / 20,
            "learned": 0.1,
        }
        for n in (10, 20)
        for ratio in (1.0, 2.0)
    ]
    table = metric_results.gains(rows)
    assert table["gain over constant"].tolist() == pytest.approx([5, 10, 10, 20])
    assert table["gain over identity"].tolist() == pytest.approx([100, 200, 100, 200])
    found = metric_results.correlations(table).set_index(["gain over", "feature"])["rho"]
    assert found["identity", "ratio"] == pytest.approx(1) and found["tuned", "n"] == pytest.approx(-1)
    assert abs(found["identity", "n"]) < 1e-9
    metric_plots.draw_grid(table, "random").canvas.draw()


def test_the_averaged_metric_is_the_geometric_mean_over_tune_instances():
    family = fpa.Lasso(3, 4)
    metric = _random_metric(family, spread=2.0)
    found = metric_scs.averaged(fpa.SCS(scale=2.0, metric=metric), family, 0, 3).splitting
    parameters = fpa.sample_batch(family, fpa.role_key(0, "tune"), 3)
    programs = [family.program(jax.tree.map(lambda leaf, k=k: leaf[k], parameters)) for k in range(3)]
    expected = np.prod([metric(program)[1] for program in programs], axis=0) ** (1 / 3)
    np.testing.assert_allclose(found.metric(programs[0])[1], expected, rtol=1e-9)
    assert found.scale == 2.0 and np.ptp(expected) > 0


def test_one_metric_for_all_comes_nearer_and_to_the_same_solution(tmp_path):
    recipe = schedules.ConstantRecipe(steps=10, updates=60, batch=8, rate=0.1)
    trained, history = metric_scs.train_constant(KALMAN, fpa.SCS(), recipe, 0, tmp_path / "a.checkpoint")
    assert history["losses"][-1][0] < history["losses"][0][0] - 1
    tuned = fpa.member(trained, 0)
    key = fpa.role_key(0, "test")
    ours, plain = (fpa.evaluate(solver, KALMAN, key, 8, 10).geomean("primal")[-1] for solver in (tuned, fpa.Solver()))
    assert ours < plain
    program = draw(KALMAN)
    points = [solver.solve(program, tol=1e-8, max_steps=100_000).check().point for solver in (tuned, fpa.Solver())]
    np.testing.assert_allclose(program.c @ points[0].x, program.c @ points[1].x, rtol=1e-6)


def test_one_metric_for_all_is_trained_on_from_the_scalars(tmp_path):
    recipe = schedules.ConstantRecipe(steps=5, updates=60, batch=16, rate=0.05)
    best = {"x": 0.5, "s": 2.0, "relaxation": 1.2}
    trained, history = metrics.train_constant(metrics.TrainingSet(TOY, 0, 64), best, recipe, tmp_path / "a.checkpoint")
    found = fpa.member(trained, 0)
    start = fpa.Solver(fpa.DouglasRachford(fpa.ConstantMetric(0.5, 2.0), 1.2))
    instances = metric_errors.Instances(TOY, 0, 20)
    ours, scalars = (instances.curves([solver], 5).mean("error")[-1] for solver in (found, start))
    assert ours < scalars and history["losses"][-1][0] < history["losses"][0][0]
    assert all(
        not np.isclose(weights, value).any()
        for weights, value in zip(found.splitting.metric(draw(TOY)), (0.5, 2.0), strict=True)
    )
    assert found.splitting.relaxation != 1.2
    instance = draw(TOY)
    expected = start.solve(instance, tol=1e-9).check().point.x
    np.testing.assert_allclose(found.solve(instance, tol=1e-9).check().point.x, expected, atol=1e-7)


def test_a_network_goes_on_where_one_metric_for_all_ends(tmp_path):
    """At first it is that metric; training moves the network and nothing else, and the file gives it back."""
    n, m = TOY.canonical.c.base.size, TOY.canonical.b.base.size
    one = fpa.DouglasRachford(fpa.TunedMetric(jnp.linspace(-1.0, 1.0, n), jnp.linspace(1.0, 2.0, m)), 1.3)
    data = metrics.TrainingSet(TOY, 0, 16)
    recipes = [
        metrics.Recipe("KKT residuals", 4, 1, updates, 4, rate, 6, 1) for updates, rate in ((2, 1e-9), (3, 0.003))
    ]
    first, last = (
        fpa.member(metrics.train(data, recipe, tmp_path / f"{k}.checkpoint", one)[0], 0)
        for k, recipe in enumerate(recipes)
    )
    untrained, trained = (solver.splitting.metric(draw(TOY)) for solver in (first, last))
    for ours, expected in zip(untrained, one.metric(draw(TOY)), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0.2)
    assert not np.isclose(trained[1], untrained[1], rtol=1e-6).any()
    assert last.splitting.relaxation == 1.3
    assert eqx.tree_equal(last.splitting.metric.factors[0], one.metric)
    fpa.save(tmp_path / "model.npz", fpa.stack([last]), TOY)
    assert eqx.tree_equal(fpa.member(fpa.load(tmp_path / "model.npz"), 0), last)


def test_a_metric_is_fitted_with_nothing_told():
    splitting, history = fpa.fit_metric(fpa.SCS(), KALMAN, fpa.role_key(0, "train"), num_updates=2, batch_size=2)
    x, s = splitting.metric(draw(KALMAN))
    assert np.array_equal(x, np.ones(len(x))) and np.ptp(s) > 0
    assert len(history.losses) == 2 and splitting.scale == fpa.SCS().scale


def test_a_metric_is_not_fitted_from_a_weight_of_0():
    splitting = fpa.DouglasRachford(fpa.ConstantMetric(0.0, 1.0))
    with pytest.raises(ValueError, match="fit_metric: the splitting's metric has to have positive weights"):
        fpa.fit_metric(splitting, TOY, fpa.role_key(0, "train"))


def test_one_metric_for_all_shares_one_factorisation():
    n, m = KALMAN.canonical.c.base.size, KALMAN.canonical.b.base.size
    splitting = fpa.SCS(metric=fpa.TunedMetric(jnp.ones(n), jnp.zeros(m)))
    bind = jax.vmap(lambda y: splitting.bind(KALMAN.program({"y": y})).system, out_axes=None)
    system = jax.eval_shape(bind, jnp.zeros((3, *KALMAN.canonical.shapes["y"])))
    assert len(jax.tree.leaves(system)) > 2  # vmap itself refuses what differs between instances


def test_weights_are_told_by_kind_of_cone():
    metric = fpa.ConstantMetric(1.0, jnp.arange(1.0, 1 + draw(KALMAN).b.size))
    table = metric_results.weights_by_cone(fpa.Solver(fpa.SCS(metric=metric)), KALMAN, 0)
    zero = int(draw(KALMAN).cone.equalities.sum())
    assert table["rows"].sum() == draw(KALMAN).b.size and table.index[0] == f"Zero({zero})"
    assert table.loc[f"Zero({zero})", 0.5] == (1 + zero) / 2
    assert sum(str(name).startswith("SecondOrder") for name in table.index) >= 1
