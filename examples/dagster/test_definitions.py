"""When the pipeline runs by itself, asked of Dagster; whole runs are in tests/dagster.rs."""

import os
import pathlib
import tempfile
import unittest
import warnings
from unittest import mock

import dagster as dg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import definitions


class WhenItRuns(unittest.TestCase):
    def test_every_step_is_in_the_job(self):
        names = {key.to_user_string() for key in definitions.defs.resolve_job_def("hires").asset_layer.executable_asset_keys}
        self.assertEqual(
            names,
            {"raw", "features", "model_linear", "model_neighbours", "score_linear", "score_neighbours", "report"},
        )

    def test_at_two_in_tokyo(self):
        schedule = definitions.defs.resolve_schedule_def("nightly")
        self.assertEqual((schedule.cron_schedule, schedule.execution_timezone), ("0 2 * * *", "Asia/Tokyo"))
        self.assertEqual(schedule.job_name, "hires")

    def test_when_a_week_is_new_or_written_again(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder)
            cursor = None

            def asked():
                nonlocal cursor
                context = dg.build_sensor_context(cursor=cursor)
                answer = definitions.new_data(context)
                cursor = context.cursor
                return answer

            with mock.patch.object(definitions, "SOURCE", source):
                self.assertIsInstance(asked(), dg.SkipReason)
                (source / "week-1.csv").write_text("one")
                first = asked()
                self.assertIsInstance(first, dg.RunRequest)
                self.assertIsInstance(asked(), dg.SkipReason)
                os.utime(source / "week-1.csv", ns=(1, 1))
                second = asked()
                self.assertIsInstance(second, dg.RunRequest)
                self.assertNotEqual(first.run_key, second.run_key)
                (source / "week-2.csv").write_text("two")
                self.assertIsInstance(asked(), dg.RunRequest)
                self.assertIsInstance(asked(), dg.SkipReason)


if __name__ == "__main__":
    unittest.main()
