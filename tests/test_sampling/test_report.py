"""The report: one page that needs nothing else, and its figures as strict JSON."""

import json
import shutil
from html.parser import HTMLParser

import campaigns
import pytest

from sampling.__main__ import main
from sampling.campaign import STORE
from sampling.report import figures_of_merit, gather, write_report
from sampling.store import Store

KEYS = {
    "cv_rmse_meV",
    "n_points",
    "temperature_K",
    "x_gamma",
    "x_gamma_prime",
    "x_gamma_sigma",
    "x_gamma_prime_sigma",
    "mass_drift",
    "variants",
    "wall_s",
}
SECTIONS = [
    "Energies and cluster expansion",
    "Monte Carlo",
    "Learned free energy",
    "Active learning",
    "Equilibrium",
]
MICROSTRUCTURE = {
    "mass_drift": 3e-17,
    "variants": 4,
    "energy_never_rose": True,
    "fraction_ordered": 0.42,
    "wall_s": 12.5,
}
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """What a page holds, and whether its tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.resources, self.links, self.headings, self.rows = [], [], [], [], 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("img", "script", "iframe", "source", "video", "audio"):
            self.resources.append(attributes.get("src"))
        if tag == "link":
            self.resources.append(attributes.get("href"))
        if tag == "a":
            self.links.append(attributes["href"])
        self.rows += tag == "tr"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def strict(text):
    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_json_is_strict_and_has_every_figure(finished, capsys):
    assert main(["report", str(finished), "--json"]) == 0
    numbers = strict(capsys.readouterr().out)
    assert numbers.keys() >= KEYS
    assert numbers["n_points"] == 36
    assert numbers["temperature_K"] == 1000.0
    assert numbers["n_structures"] == 29
    assert numbers["cv_rmse_meV"] > 1
    wall = numbers["wall_s"]
    assert wall["total"] == pytest.approx(sum(v for k, v in wall.items() if k != "total"), abs=0.05)
    # Nothing orders up to 12 % Al: no tie-line, and no number in its place.
    assert numbers["x_gamma"] is None
    assert numbers["x_gamma_sigma"] is None
    assert numbers["variants"] is None


def test_the_page_needs_nothing_else(copy, capsys):
    assert main(["report", str(copy)]) == 0
    path = copy / "report.html"
    assert capsys.readouterr().out == f"{path}\n"
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    assert [h.split(" · ")[1] for h in page.headings] == [*SECTIONS, "Provenance"]
    assert len(page.resources) == 8
    assert all(r.startswith("data:image/png;base64,") for r in page.resources)
    assert "http" not in text.replace("http-equiv", "")
    assert "@import" not in text
    assert "url(" not in text
    assert all((copy / link).exists() for link in page.links)
    assert {"campaign.sqlite", "model.safetensors", "expansion.json"} <= set(page.links)
    assert text.count("Energies: embedded atom") == 1
    assert text.index("Energies: embedded atom") < text.index("<h1>")
    assert "nan" not in text.split("<details>")[0].split("base64")[0].lower()


def test_a_microstructure_beside_the_store_is_included(copy, capsys):
    folder = copy / "microstructure"
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps(MICROSTRUCTURE))
    for name in ("microstructure.png", "history.png"):
        shutil.copy(copy / "figures" / "hull.png", folder / name)
    (folder / "animation.gif").write_bytes(b"GIF89a")
    page = Page(write_report(copy).read_text())
    assert [h.split(" · ")[1] for h in page.headings] == [*SECTIONS, "Microstructure", "Provenance"]
    assert sum(r.startswith("data:image/gif;base64,") for r in page.resources) == 1
    assert len(page.resources) == 11
    assert main(["report", str(copy), "--json"]) == 0
    numbers = strict(capsys.readouterr().out)
    assert numbers["variants"] == 4
    assert numbers["mass_drift"] == 3e-17
    assert numbers["wall_s"]["microstructure"] == 12.5
    assert numbers["wall_s"]["total"] > 12.5


def rebuilt(copy, change_label=lambda point, label: label, rounds=None, **changes):
    """The copy's store with other labels, rounds or a last session of other settings."""
    old = Store(copy / STORE)
    contents = old.proposals(), old.labels(), rounds or old.rounds(), old.seconds()
    identity, sessions = old.identity(), old.sessions()
    old.close()
    for path in copy.glob(STORE + "*"):
        path.unlink()
    proposals, labels, judged, seconds = contents
    new = Store(copy / STORE, identity)
    for session in sessions:
        new.add_session(session.settings, session.versions)
    if changes:
        new.add_session(sessions[-1].settings | changes, sessions[-1].versions | {"torch": "9.9"})
    new.add_proposals(proposals)
    new.add_labels({p: change_label(p, label) for p, label in labels.items()})
    for content in judged:
        new.add_round(content["round"], content)
    for stage, spent in seconds.items():
        new.add_seconds(stage, spent)
    new.close()


def test_points_of_unknown_mu_are_counted_and_not_drawn(copy):
    def lost(point, label):
        unknown = {"mu": [None] * 4, "mu_stderr": [None] * 4, "ergodic": False}
        return label | unknown if point in (3, 30) else label

    rebuilt(copy, lost)
    found = gather(copy)
    assert len(found.data) == len(found.reasons) == 34
    assert len(found.labels) == 36
    Page(write_report(copy).read_text())


def test_second_opinions_beyond_four_sigma_are_counted(copy):
    """Of points 0 to 2 one disagrees, of the others there is no second opinion."""
    opinions = {0: [0.0, 0.0, 0.039, 0.0], 1: [0.0, 0.0, 0.0, -0.041], 2: [0.0] * 4}

    def opinion(point, label):
        known = point in opinions
        return label | {
            "second_opinion": opinions.get(point, [None] * 4),
            "second_opinion_stderr": ([0.01] if known else [None]) * 4,
        }

    rebuilt(copy, opinion)
    text = write_report(copy).read_text()
    assert "At 3 points the balance of flips gives a second opinion of μ; at 1 of them" in text


def test_a_tie_line_and_its_sigma_are_reported(copy):
    store = Store(copy / STORE)
    rounds = store.rounds()
    store.close()
    line = {"x": [0.12, 0.23], "sigma_x": [0.00047, float("inf")], "mu": -1.2}
    rebuilt(copy, rounds=[rounds[0], rounds[1] | line | {"phases": ["A1", "L1_2"]}])
    numbers = figures_of_merit(gather(copy))
    assert (numbers["x_gamma"], numbers["x_gamma_prime"]) == (0.12, 0.23)
    assert (numbers["x_gamma_sigma"], numbers["x_gamma_prime_sigma"]) == (0.00047, None)
    assert numbers["phases"] == ["A1", "L1_2"]
    text = write_report(copy).read_text()
    assert "0.1200 ± 0.0005" in text
    assert "0.2300 ± –" in text


def test_a_campaign_of_one_round_can_be_reported(copy):
    store = Store(copy / STORE)
    rounds, learning = store.rounds()[:1], store.identity()["active_learning"]
    store.close()
    learning |= {"rounds": 1, "least_rounds": 1, "tolerance_composition": 0.01, "tolerance_mu": 0.5}
    rebuilt(copy, rounds=rounds, active_learning=learning)
    found = gather(copy)
    assert len(found.labels) == len(found.reasons) == len(found.data) == rounds[0]["n_points"] == 24
    Page(write_report(copy).read_text())


def test_the_settings_are_the_last_session_s_and_the_versions_all_sessions(copy):
    store = Store(copy / STORE)
    (first,) = store.sessions()
    store.close()
    learning = first.settings["active_learning"]
    less = {"rounds": 1, "least_rounds": 1, "tolerance_composition": 0.0321}
    rebuilt(copy, title="Renamed", active_learning=learning | less)
    numbers = figures_of_merit(gather(copy))
    torch_version = first.versions["torch"]
    assert (numbers["sessions"], numbers["rounds"], numbers["stopped_by"]) == (2, 2, "budget")
    assert numbers["versions"] == first.versions | {"torch": f"{torch_version}, 9.9"}
    text = write_report(copy).read_text()
    assert "<h1>Renamed</h1>" in text
    assert "budget of 1 rounds was spent (2 were done for an earlier, larger budget)" in text
    assert "σ of the tie-line 0.0321" in text
    assert f"torch {torch_version}," in text
    assert "torch 9.9," in text


def test_a_title_is_text_and_not_markup(copy):
    rebuilt(copy, title="<script>alert(1)</script>")
    text = write_report(copy).read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_an_unfinished_campaign_is_named(copy, capsys):
    store = Store(copy / STORE)
    settings, seen = store.sessions()[-1].settings, store.sessions()[-1].versions
    more = settings["active_learning"] | {"rounds": 3}
    store.add_session(settings | {"active_learning": more}, seen)
    store.close()
    assert main(["report", str(copy)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: `directory`: the campaign in ")
    assert "is not finished (2 rounds done); run it again" in error
    assert not (copy / "report.html").exists()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_folder_without_a_campaign_is_named(tmp_path, capsys, options):
    assert main(["report", str(tmp_path), *options]) == 2
    assert "holds no campaign; run one first" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_is_named(copy, capsys):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    assert main(["report", str(copy)]) == 2
    assert "is truncated or not a scalebridge model" in capsys.readouterr().err


def test_reporting_does_not_touch_the_campaign(copy, finished):
    before = campaigns.content(finished)
    write_report(copy)
    assert campaigns.content(copy) == before
