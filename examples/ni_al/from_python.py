"""The whole chain from Python, small and coarse."""

from pathlib import Path

from phasefield.runs import execute
from phasefield.settings import read_settings as read_run
from sampling.campaign import MODEL, run_campaign
from sampling.report import MICROSTRUCTURE, write_report
from sampling.settings import read_settings

SETTINGS = Path("examples/ni_al/reduced")

if __name__ == "__main__":  # worker processes import this file
    campaign = run_campaign(
        read_settings(SETTINGS / "campaign_eam.toml", directory=Path("runs/from_python"))
    )
    last = campaign.rounds[-1]
    print("tie-line:", last.phases, last.x, "±", last.sigma_x)
    run = read_run(
        SETTINGS / "microstructure.toml",
        model=campaign.directory / MODEL,
        output=campaign.directory / MICROSTRUCTURE,
    )
    print("variants of γ′:", execute(run)["variants"])
    print(write_report(campaign.directory))
