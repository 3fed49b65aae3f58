"""`ray-pipeline`: the command line."""

import typer

from ray_pipeline import __version__
from ray_pipeline.commands import api, archive, backup, deploy, dlq, jobs, lint, node, observe, run
from ray_pipeline.local.cli import local_app
from ray_pipeline.simulators.cli import simulate_app

app = typer.Typer(
    name="ray-pipeline",
    help="Collect market data on Ray: every record stored once, every loss written down. "
    "Begin with `ray-pipeline demo`; it needs no keys and no network.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


app.command("up")(run.up)
app.command("demo")(run.demo)
app.command("api")(api.api)
app.command("jobs")(jobs.jobs)
app.command("run")(jobs.run)
app.command("backfill")(jobs.backfill)
app.command("plan")(jobs.plan)
app.command("why")(jobs.why)
app.command("runs")(jobs.runs)
app.command("findings")(jobs.findings)
app.command("quotas")(jobs.quotas)
new_app = typer.Typer(no_args_is_help=True, help="Write the beginning of something.")
new_app.command("job")(jobs.new_job)
app.add_typer(new_app, name="new")
app.command("audit")(observe.audit)
app.command("status")(observe.status)
app.command("gaps")(observe.gaps)
app.add_typer(dlq.dlq_app, name="dlq")
app.command("migrate")(observe.migrate)
app.command("doctor")(observe.doctor)
app.command("replay")(archive.replay)
app.command("lint")(lint.lint)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("drain-node")(node.drain_node)
app.add_typer(deploy.deploy_app, name="deploy")
app.add_typer(local_app, name="local")
app.add_typer(simulate_app, name="simulate")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
