"""launch/bench: arithmetic, tables and the course of a session, from recorded numbers."""
import contextlib
import io
import json
import struct
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "launch"))

from benchmarks import cases, floors, plan, report, session, training  # noqa: E402
from benchmarks.floors import Comparison, Limit, Spread  # noqa: E402
from benchmarks.processes import MeasurementFailed  # noqa: E402

RECORDED = Path(__file__).with_name("bench_recorded.json")


def recorded() -> dict:
    return json.loads(RECORDED.read_text())


def rates(*values):
    return [None if value is None else {"images_per_s": value} for value in values]


class Arithmetic(unittest.TestCase):
    def test_spread_is_median_and_quartiles(self):
        self.assertEqual(floors.spread([5, 1, 4, 2, 3]), Spread(3, 2, 4))
        self.assertEqual(floors.spread([1, 2, 3, 4]), Spread(2.5, 1.75, 3.25))
        self.assertEqual(floors.spread([7]), Spread(7, 7, 7))

    def test_ratio_is_taken_within_a_round(self):
        # The second round ran on a machine half as fast: medians of the sides would say 0.6.
        results = {"a.largo": rates(120, 60, 130), "a.pytorch": rates(100, 50, 200)}
        row = floors.compare(Comparison("a", "a", "images_per_s", "a.largo", "a.pytorch", floor=1.2), results)
        self.assertEqual(row.figure.median, 1.2)
        self.assertTrue(row.reached)
        self.assertEqual(row.ours.median, 120)

    def test_a_failed_round_keeps_the_pairs_together(self):
        results = {"a.largo": rates(None, 60, 130), "a.pytorch": rates(100, 50, None)}
        row = floors.compare(Comparison("a", "a", "images_per_s", "a.largo", "a.pytorch", floor=1.3), results)
        self.assertEqual((row.figure.median, row.rounds, row.reached), (1.2, 1, False))

    def test_less_time_and_memory_is_better(self):
        for unit in ("s", "bytes"):
            results = {"a.largo": [{"n": 2.0}], "a.mpi": [{"n": 10.0}]}
            row = floors.compare(Comparison("a", "a", "n", "a.largo", "a.mpi", unit, 5.0), results)
            self.assertEqual((row.figure.median, row.reached), (5.0, True))

    def test_cost_is_added_time(self):
        results = {"resnet20_sync.largo": rates(95), "resnet20.largo": rates(100)}
        ask = Comparison("resnet20", "SyncBN", "images_per_s", "resnet20_sync.largo", "resnet20.largo", floor=0.05, cost=True)
        row = floors.compare(ask, results)
        self.assertAlmostEqual(row.figure.median, 0.0526, places=4)
        self.assertFalse(row.reached)
        self.assertEqual(report.cells(row)[2:8], ["Largo, batch norm", "100/s", "+5.3 %", "+5.3 % … +5.3 %", "≤ 5 %", "NOT reached"])

    def test_without_the_other_side_there_is_no_verdict(self):
        row = floors.compare(Comparison("a", "a", "images_per_s", "a.largo", "a.pytorch", floor=1.2), {"a.largo": rates(10)})
        self.assertEqual((row.figure, row.reached, row.theirs), (None, None, None))
        self.assertIsNone(floors.compare(Comparison("a", "a", "images_per_s", "a.largo", "a.pytorch"), {}))

    def test_limits(self):
        limit = Limit("start", "start", "first_step_s", "start.largo", "s", 3.0)
        for seconds, reached in ((2.9, True), (3.1, False)):
            self.assertEqual(floors.hold(limit, {"start.largo": [{"first_step_s": seconds}]}).reached, reached)

    def test_quantities_have_three_digits(self):
        for value, unit, text in ((1234.4, "images/s", "1234/s"), (9.87, "images/s", "9.9/s"), (2.5, "s", "2.50 s"),
                                  (0.0123, "s", "12.3 ms"), (9.4e-6, "s", "9.40 µs"), (123e-6, "s", "123 µs"),
                                  (4.56e8, "bytes", "456 MB")):
            self.assertEqual(report.quantity(value, unit), text)


class Tables(unittest.TestCase):
    def test_every_floor_of_a_full_run_has_a_line(self):
        rows = floors.rows_of(recorded()["measurements"])
        self.assertEqual(len(rows), len(floors.ASKED))
        judged = [row for row in rows if row.goal is not None]
        self.assertTrue(all(row.reached is not None for row in judged))
        self.assertEqual({row.bench for row in rows}, set(plan.BENCHES))

    def test_markdown_is_whole(self):
        document = recorded()
        head = report.headline(document["machine"], document["rounds"], quick=False)
        text = report.markdown(document["measurements"], head, ["a remark"])
        lines = [line for line in text.splitlines() if line.startswith("|")]
        of_report, of_steps = len(report.HEADS), len(report.STEP_HEADS)
        self.assertTrue(all(line.count("|") in (of_report + 1, of_steps + 1) for line in lines))
        self.assertIn("| LeNet, batch 64 | 12000/s | PyTorch | 8000/s | 1.51 | 1.51 … 1.52 | ≥ 1.5 | reached |", lines)
        self.assertIn("- a remark", text)

    def test_terminal_columns_stand_below_one_another(self):
        lines = report.text_table(["a", "b"], [["long cell", "1"], ["x", "2"]]).splitlines()
        self.assertEqual([line.rstrip()[-1:] for line in lines], ["b", "1", "2"])
        self.assertEqual({line.index(end) for line, end in zip(lines, "b12")}, {11})

    def test_rest_of_a_step_is_what_no_phase_has(self):
        steps = {row[0]: row for row in report.step_rows(recorded()["measurements"])}
        self.assertEqual(steps["LeNet"][1:3], ["10.0 ms", "100 µs (1%)"])
        self.assertEqual(steps["LeNet"][-1], "4.0%")

    def test_a_busy_machine_is_said(self):
        machine = {**recorded()["machine"], "busy_before": 0.5}
        self.assertIn("not idle", report.notes(machine, [], [], 0.05)[0])
        self.assertNotIn("not idle", " ".join(report.notes({**machine, "busy_before": 0.01}, [], [], 0.05)))


class Course(unittest.TestCase):
    def run_plan(self, measurements, rounds=2, minutes=10.0):
        with tempfile.TemporaryDirectory() as work, contextlib.redirect_stderr(io.StringIO()) as said:
            found = session.measure(measurements, rounds, minutes, Path(work))
        return found, said.getvalue()

    def test_failures_are_kept_and_do_not_end_it(self):
        def fails(_):
            raise MeasurementFailed("no such thing")

        found, said = self.run_plan([plan.Measurement("a", "a.largo", "n", fails),
                                     plan.Measurement("a", "a.pytorch", "n", lambda _: {"n": 1.0})])
        self.assertEqual(found.results, {"a.largo": [None, None], "a.pytorch": [{"n": 1.0}] * 2})
        self.assertEqual(len(found.failures), 2)
        self.assertIn("no such thing", said)

    def test_no_round_that_would_end_too_late(self):
        found, _ = self.run_plan([plan.Measurement("a", "a.largo", "n", lambda _: {"n": 1.0})], rounds=5, minutes=1e-9)
        self.assertEqual(found.rounds, 1)

    def test_sides_that_did_different_work_give_no_numbers(self):
        def side(name, parameters, loss):
            numbers = {"images_per_s": 1.0, "parameters": parameters, "loss": loss}
            return plan.Measurement("lenet", name, "images_per_s", lambda _: numbers)

        for parameters, loss in ((99, 2.3), (100, 5.0)):
            found, _ = self.run_plan([side("lenet.largo", 100, 2.3), side("lenet.pytorch", parameters, loss)], rounds=1)
            self.assertEqual(found.results, {"lenet.largo": [None], "lenet.pytorch": [None]})
        found, _ = self.run_plan([side("lenet.largo", 100, 2.3), side("lenet.pytorch", 100, 2.31)], rounds=1)
        self.assertEqual(found.failures, [])


class Sides(unittest.TestCase):
    def test_statistics_are_no_parameters(self):
        shapes = {"conv1.weight": [20, 1, 5, 5], "bn1.running_mean": [20], "bn1.running_var": [20], "bn1.weight": [20],
                  "bn1.num_batches_tracked": [], "__metadata__": None}
        header = json.dumps({name: {"shape": shape} for name, shape in shapes.items()}).encode()
        with tempfile.NamedTemporaryFile() as file:
            file.write(struct.pack("<Q", len(header)) + header)
            file.flush()
            self.assertEqual(training.parameters_in(Path(file.name)), 520)

    def test_without_pytorch_only_largo_is_measured(self):
        tools = plan.Tools("largo", "mpirun", None, None, Path("images"), quick=True)
        names = [one.name for one in plan.round_of(tools, None)]
        self.assertTrue(names and all(name.endswith(".largo") for name in names), names)
        self.assertEqual({one.bench for one in plan.round_of(tools, "lenet")}, {"lenet"})

    def test_every_comparison_is_measured(self):
        tools = plan.Tools("largo", "mpirun", "plain_allreduce", Path("python"), Path("images"), quick=False)
        measured = {one.name for one in plan.round_of(tools, None)}
        wanted = {name for ask in floors.ASKED for name in (ask.ours, getattr(ask, "theirs", ask.ours))}
        self.assertEqual(wanted - measured, set())
        self.assertEqual({one.bench for one in plan.round_of(tools, None)}, set(plan.BENCHES))

    def test_a_loss_that_does_not_fall_is_a_failure(self):
        for losses in ([2.3, 2.4], [9.0, 2.0], [2.3, float("nan")]):
            with self.assertRaises(MeasurementFailed):
                training.check_loss("Largo", losses, 10)
        training.check_loss("Largo", [2.3, 2.2], 10)

    def test_warmup_is_left_out_of_the_steps_that_count(self):
        self.assertEqual(cases.RESNET20.total_steps(quick=False), 30)
        self.assertGreater(cases.RESNET20.total_steps(quick=True), cases.WARMUP_STEPS)


if __name__ == "__main__":
    unittest.main()
