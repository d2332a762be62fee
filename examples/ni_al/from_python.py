"""The whole chain from Python, small and coarse."""

from pathlib import Path

from phasefield.outputs import plot_run
from phasefield.runs import execute
from phasefield.settings import read_settings as read_run
from sampling.campaign import MODEL, run_campaign
from sampling.report import MICROSTRUCTURE, write_report
from sampling.settings import read_settings

SETTINGS = Path("examples/ni_al/reduced")

if __name__ == "__main__":  # worker processes import this file
    chosen = read_settings(SETTINGS / "campaign_eam.toml", directory=Path("runs/from_python"))
    campaign = run_campaign(chosen)
    last = campaign.rounds[-1]
    print("tie-line:", last.phases, last.x, "±", last.sigma_x)
    model, output = campaign.directory / MODEL, campaign.directory / MICROSTRUCTURE
    run = read_run(SETTINGS / "microstructure_eam.toml", model=model, output=output)
    print("variants of γ′:", execute(run)["variants"])
    plot_run(output)
    print(write_report(campaign.directory))
