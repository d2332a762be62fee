"""Settings: the shipped file is read, every mistake names its key, its rule and its value."""

from pathlib import Path

import pytest

from phasefield.settings import read_settings

GOOD = """
seed = 1
output = "run"
[grid]
shape = [8, 8]
spacing = 0.5
[energy]
kind = "double_well"
height = 5.0
low = 0.3
high = 0.7
[composition]
mean = 0.5
noise = 0.01
kappa = 2.0
[time]
end = 1.0
frames = 4
[phases]
threshold = 0.5
"""
SHIPPED = Path(__file__).parents[2] / "examples" / "ni_al" / "microstructure.toml"


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "run.toml"
        path.write_text(text)
        return path

    return write


def test_the_shipped_example_is_256_by_256_with_four_fields():
    settings = read_settings(SHIPPED)
    assert settings.grid.shape == (256, 256)
    assert settings.composition is not None
    assert settings.order is not None
    assert settings.output.is_relative_to(SHIPPED.parents[2] / "runs")


def test_paths_are_relative_to_the_file_and_the_command_line_goes_first(written, tmp_path):
    path = written(GOOD)
    assert read_settings(path).output == tmp_path / "run"
    assert read_settings(path, output=Path("/elsewhere")).output == Path("/elsewhere")


def test_a_path_may_be_text(written):
    path = written(GOOD)
    settings = read_settings(str(path), output="/elsewhere")
    assert settings == read_settings(path, output=Path("/elsewhere"))
    learned = GOOD.replace('"double_well"\nheight = 5.0\nlow = 0.3\nhigh = 0.7', '"learned"')
    learned += "[order]\nkappa = 1.0\n"
    assert read_settings(written(learned), model="/a/model").energy.model == Path("/a/model")


def test_output_times_are_evenly_spaced_or_at_equal_ratios(written):
    assert read_settings(written(GOOD)).time.output_times() == [0.25, 0.5, 0.75, 1.0]
    ratios = GOOD.replace("frames = 4", "frames = 3\nfirst_frame = 0.01")
    assert read_settings(written(ratios)).time.output_times() == pytest.approx([0.01, 0.1, 1.0])


@pytest.mark.parametrize(("text", "value"), [("2", 2.0), ("1.5", 1.5), ('"exact"', "exact")])
def test_points_per_cell_are_a_number_or_as_many_as_are_exact(text, value, written):
    path = written(GOOD.replace("spacing = 0.5", f"spacing = 0.5\ndealias = {text}"))
    assert read_settings(path).grid.dealias == value
    assert read_settings(written(GOOD)).grid.dealias == 1.0


MISTAKES = [
    (
        "spacing = 0.5",
        'spacing = 0.5\nboundaries = ["no-flux"]',
        r"`boundaries` must hold one entry",
    ),
    ("spacing = 0.5", 'spacing = 0.5\nboundaries = ["open", "open"]', r"`grid.boundaries"),
    *(
        (
            "spacing = 0.5",
            f"spacing = 0.5\ndealias = {text}",
            rf'`grid.dealias`: must be a finite number of at least 1 or "exact"; it is {shown}',
        )
        for text, shown in [("0.5", "0.5"), ("nan", "nan"), ("true", "True"), ('"2"', "'2'")]
    ),
    ("end = 1.0", 'end = 1.0\nintegrator = "rk4"', r"`time.integrator`"),
    ("[phases]", "[noise]\ntemperature = 300.0\n[phases]", r"\[noise\] holds for steps of one"),
    ("noise", "niose", r"`composition.niose` is not a known key; did you mean `noise`\?"),
    ("[phases]", "[phase]", r"`phase` is not a known key; did you mean `phases`\?"),
    ("spacing = 0.5", "spacing = -0.5", r"`grid.spacing`: .*greater than 0; it is -0\.5"),
    ("spacing = 0.5", "spacing = nan", r"`grid.spacing`: .*; it is nan"),
    ("spacing = 0.5", 'spacing = "wide"', r"`grid.spacing`: .*valid number.*; it is 'wide'"),
    ("spacing = 0.5", "", r"`grid.spacing` is missing"),
    ("shape = [8, 8]", "shape = [8, 2]", r"`grid.shape.1`: .*equal to 4; it is 2"),
    ("shape = [8, 8]", "shape = [8, 8, 8, 8]", r"`grid.shape`: .*at most 3"),
    ('kind = "double_well"', 'kind = "spline"', r"`energy`: .*'spline'.*double_well"),
    ("[composition]", "[order]\nkappa = 1.0\n[composition]", r"double_well energy has one field"),
    ("end = 1.0", "end = 1.0\nfirst_frame = 2.0", r"`first_frame` must be below `end`"),
    (
        "[phases]",
        "[nuclei]\ncount = 1\nradius = 1.0\ncomposition = 0.2\norder = 0.2\n[phases]",
        r"\[nuclei\] are L1₂",
    ),
    ("seed = 1", "seed = 1 1", r"is not valid TOML: .*line 2"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_a_mistake_is_named(old, new, message, written):
    assert old in GOOD
    with pytest.raises(ValueError, match=message):
        read_settings(written(GOOD.replace(old, new, 1)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no settings file .*none\.toml"):
        read_settings(tmp_path / "none.toml")


def test_a_model_for_an_energy_that_is_not_learned_is_refused(written):
    with pytest.raises(ValueError, match=r"`--model` replaces `energy\.model`"):
        read_settings(written(GOOD), model=Path("m.safetensors"))
