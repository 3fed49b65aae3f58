"""`ray-pipeline deploy`: put the manifests on a Kubernetes cluster, and go back."""

import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from ray_pipeline.cli.common import AsJson, print_json, show
from ray_pipeline.cli.deploy_tables import (
    plan_lines,
    render_needs,
    render_statuses,
    sizing_as_json,
    summary,
)
from ray_pipeline.errors import ConfigurationError, PipelineError
from ray_pipeline.kubernetes.deploy.diff import Change
from ray_pipeline.kubernetes.deploy.failures import MissingKinds
from ray_pipeline.kubernetes.deploy.kube import Kube, connect
from ray_pipeline.kubernetes.deploy.manifest_source import NAMESPACE, leave_out, read
from ray_pipeline.kubernetes.deploy.needs import home_of
from ray_pipeline.kubernetes.deploy.objects import Json
from ray_pipeline.kubernetes.deploy.plan import api_server_cut_off, missing_kinds, missing_secrets
from ray_pipeline.kubernetes.deploy.plan import plan as compare
from ray_pipeline.kubernetes.deploy.release import (
    HOLDS_DATA,
    current,
    revisions,
    statuses,
    undeploy,
)
from ray_pipeline.kubernetes.deploy.release import deploy as roll_out
from ray_pipeline.kubernetes.deploy.revisions import dropped, latest, target
from ray_pipeline.kubernetes.deploy.rollout import Progress, Rollout
from ray_pipeline.kubernetes.deploy.sizing import needs
from ray_pipeline.kubernetes.manifests.build import build

P = ParamSpec("P")
FAILED = 1
CHANGES = 2
INTERRUPTED = 130
TIMEOUT_S = 900.0
# A checkout, also when one stands elsewhere; and an installed package, which has them inside.
ROOTS = (Path(), Path(__file__).resolve().parents[2], Path(__file__).resolve().parents[1])

deploy_app = typer.Typer(
    no_args_is_help=True,
    help="Put the manifests on a Kubernetes cluster: plan, apply, status, rollback, delete. "
    "Exit status: 0 done, 1 not done or not ready, 2 (plan) there are changes, 130 Ctrl-C.",
)

Overlay = Annotated[
    str,
    typer.Argument(help="lite, ha, dev, a folder with a kustomization, or a file of manifests."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        help="Leave a component out, such as monitoring; more than once for more than one."
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="For objects that name none. Default: where Ray is."),
]
OfRelease = Annotated[
    str, typer.Option("--namespace", "-n", help="The namespace that was deployed to.")
]
Kubeconfig = Annotated[
    Path | None, typer.Option(help="Default: KUBECONFIG, then ~/.kube/config, then the pod's own.")
]
Context = Annotated[str | None, typer.Option(help="Which of its contexts. Default: the current.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[
    bool, typer.Option("--force-conflicts", help="Take over fields that other programs set.")
]
Timeout = Annotated[
    float, typer.Option(min=1, help="Seconds until what is not ready is explained and given up.")
]


def _command(function: Callable[P, int]) -> Callable[P, None]:
    """
    Make a function that returns an exit code into a command.

    Not asynchronous, unlike the other commands: the client is not, and only so does Ctrl-C reach
    it at once.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = function(*args, **kwargs)
        except PipelineError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        if code:
            raise typer.Exit(code)

    return run


@deploy_app.command("plan")
@_command
def plan(
    overlay: Overlay = "lite",
    *,
    without: Without = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    force_conflicts: Force = False,
    as_json: AsJson = False,
) -> int:
    """
    Show what `apply` would change, field by field, without changing anything.

    The server answers a dry run, so its defaults, its checks and your rights are all in it. Values
    of secrets are never shown. Exit status: 0 nothing would change, 2 something would, 1 it cannot
    be applied as it is.
    """
    objects = _objects(overlay, namespace, without)
    with _cluster(kubeconfig, context) as kube:
        changes = _plan(kube, objects, force=force_conflicts)
        if as_json:
            print_json([asdict(change) for change in changes])
        else:
            _show_plan(kube, objects, changes)
        _require_kinds(kube, objects, _apply_command(overlay, without))
    if _blocked(changes):
        return FAILED
    return CHANGES if any(change.counts for change in changes) else 0


@deploy_app.command("apply")
@_command
def apply(
    overlay: Overlay = "lite",
    *,
    without: Without = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    yes: Yes = False,
    force_conflicts: Force = False,
    timeout: Timeout = TIMEOUT_S,
) -> int:
    """
    Show the plan, ask, apply it in order, and wait until everything is ready.

    In order: namespaces, operators, secrets, configuration, stores, Kafka, topics and users,
    migration, Ray, applications, the rest. What is stuck is explained, with its fix. It may be
    repeated at any time; each apply is a revision that `rollback` can return to.
    """
    objects = _objects(overlay, namespace, without)
    source = " without ".join([overlay, *(without or ())])
    with _cluster(kubeconfig, context) as kube:
        return _apply(
            kube, objects, source=source, command=_apply_command(overlay, without),
            yes=yes, force=force_conflicts, timeout_s=timeout,
        )  # fmt: skip


@deploy_app.command("status")
@_command
def status(
    *,
    namespace: OfRelease = NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: AsJson = False,
) -> int:
    """
    Show every object of the release, what is not ready, why, and what to do about it.

    Exit status: 0 when everything is ready, 1 when something is not.
    """
    with _cluster(kubeconfig, context) as kube:
        last, history = current(kube, namespace)
        found = statuses(kube, last)
    if as_json:
        rows = [asdict(one) for one in found]
        print_json({"revision": last.number, "state": last.state, "objects": rows})
    else:
        show(render_statuses(last, history, found))
    return 0 if all(one.readiness.state == "ready" for one in found) else FAILED


@deploy_app.command("rollback")
@_command
def rollback(
    *,
    to: Annotated[
        int | None, typer.Option(help="A revision's number. Default: the last that was ready.")
    ] = None,
    namespace: OfRelease = NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    yes: Yes = False,
    force_conflicts: Force = False,
    timeout: Timeout = TIMEOUT_S,
) -> int:
    """
    Apply the manifests of an earlier revision again, as a new one.

    Manifests go back; data and the database's schema do not: migrations only add.
    """
    with _cluster(kubeconfig, context) as kube:
        _, history = current(kube, namespace)
        wanted = target(history, to)
        typer.echo(f"back to revision {wanted.number} of {wanted.at}, from {wanted.source}")
        return _apply(
            kube, wanted.objects, source=f"rollback to {wanted.number}",
            command=_apply_command("OVERLAY", None),
            yes=yes, force=force_conflicts, timeout_s=timeout,
        )  # fmt: skip


@deploy_app.command("delete")
@_command
def delete(
    *,
    data: Annotated[
        bool, typer.Option("--data", help="Delete volumes and namespaces too: what was collected.")
    ] = False,
    namespace: OfRelease = NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    yes: Yes = False,
    timeout: Timeout = TIMEOUT_S,
) -> int:
    """
    Delete the release, last things first. Volumes stay, and what was collected, unless --data.
    """
    with _cluster(kubeconfig, context) as kube:
        last, _ = current(kube, namespace)
        kept = "" if data else f" but {', '.join(sorted(HOLDS_DATA))}"
        typer.echo(f"revision {last.number}: {len(last.refs)} objects go,{kept or ' DATA TOO'}")
        _ask(f"Delete the release in {namespace} on {kube.host}?", yes=yes)
        rollout = _rollout(kube, timeout_s=timeout)
        with _interruptible(rollout.progress, "the same delete again goes on"):
            left = undeploy(rollout, namespace=namespace, data=data)
    typer.echo("deleted" + "".join(f"\n  left: {ref}" for ref in left))
    return 0


@deploy_app.command("sizing")
@_command
def sizing(
    *,
    profile: Annotated[str, typer.Option(help="lite, ha, dev, or a path.")] = "lite",
    as_json: AsJson = False,
) -> int:
    """
    Add up the pods, the memory and the CPU that the manifests ask for; no cluster is needed.

    Compared with five servers of 4 cores and 8 GB, less what K3s and the system take. Exit status:
    1 when they do not fit, even for the minutes of an upgrade.
    """
    wanted = needs(_objects(profile, None))
    report = sizing_as_json(profile, wanted)
    if as_json:
        print_json(report)
    else:
        show(render_needs(profile, wanted))
    return 0 if report["fits"] else FAILED


def _objects(
    overlay: str, namespace: str | None, without: Sequence[str] | None = None
) -> list[Json]:
    return leave_out(read(overlay, build, roots=ROOTS, namespace=namespace), without or ())


def _apply_command(overlay: str, without: Sequence[str] | None) -> str:
    options = [f"--without {name}" for name in without or ()]
    return " ".join(["ray-pipeline deploy apply", overlay, *options])


def _require_kinds(kube: Kube, objects: Sequence[Json], command: str) -> None:
    if absent := missing_kinds(kube, objects):
        raise MissingKinds(absent, command=command)


@contextmanager
def _cluster(kubeconfig: Path | None, context: str | None) -> Iterator[Kube]:
    kube = connect(kubeconfig=kubeconfig, context=context)
    try:
        kube.version()  # says at once, and once, where the cluster is away
        yield kube
    finally:
        kube.close()


def _plan(kube: Kube, objects: Sequence[Json], *, force: bool) -> list[Change]:
    last = latest(revisions(kube, home_of(objects) or NAMESPACE))
    return compare(kube, objects, dropped(last, objects), force=force)


def _show_plan(kube: Kube, objects: Sequence[Json], changes: Sequence[Change]) -> None:
    for line in plan_lines(changes):
        typer.echo(line)
    for finding in [*missing_secrets(kube, objects), *api_server_cut_off(kube, objects)]:
        typer.echo(f"warning: {finding}")
    typer.echo(summary(changes, kube.host))


def _blocked(changes: Sequence[Change]) -> bool:
    return any(change.state in {"conflict", "refused"} for change in changes)


def _apply(
    kube: Kube,
    objects: Sequence[Json],
    *,
    source: str,
    command: str,
    yes: bool,
    force: bool,
    timeout_s: float,
) -> int:
    namespace = home_of(objects) or NAMESPACE
    _require_kinds(kube, objects, command)
    changes = _plan(kube, objects, force=force)
    _show_plan(kube, objects, changes)
    if _blocked(changes):
        raise ConfigurationError(
            "nothing was applied: the server refuses what is marked ! above",
            fix="each has its fix beside it",
        )
    last = latest(revisions(kube, namespace))
    if last and last.state == "ready" and not any(change.counts for change in changes):
        typer.echo(f"nothing to do: revision {last.number} is what the manifests say")
        return 0
    _ask(f"Apply this to {kube.host}?", yes=yes)
    rollout = _rollout(kube, timeout_s=timeout_s, force=force)
    again = "the same command again goes on where this one ended"
    with _interruptible(rollout.progress, f"{again}; `ray-pipeline deploy rollback` goes back"):
        done = roll_out(rollout, objects, namespace=namespace, source=source)
    typer.echo(f"revision {done.number} is ready")
    return 0


def _rollout(kube: Kube, *, timeout_s: float, force: bool = False) -> Rollout:
    deadline_s = time.monotonic() + timeout_s
    return Rollout(kube, say=typer.echo, deadline_s=deadline_s, force=force)


def _ask(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody is there to be asked", fix="add --yes")
    if not typer.confirm(question):
        raise typer.Exit(FAILED)


@contextmanager
def _interruptible(progress: Progress, how_to_go_on: str) -> Iterator[None]:
    """After Ctrl-C, say what state things are in and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(
            f"\ninterrupted at {progress.wave}: {len(progress.applied)} of {progress.total} "
            "objects were applied; nothing is taken back, and the cluster goes on by itself",
            err=True,
        )
        for line in progress.waiting:
            typer.echo(f"  not ready: {line}", err=True)
        typer.echo(f"{how_to_go_on}; `ray-pipeline deploy status` looks", err=True)
        raise
