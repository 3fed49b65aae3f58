"""`ray-pipeline deploy`: apply the manifests to a Kubernetes cluster, or go back to a revision."""

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
from ray_pipeline.kubernetes.deploy.installation import (
    HOLDS_DATA,
    current,
    removal_command,
    revisions,
    statuses,
    undeploy,
)
from ray_pipeline.kubernetes.deploy.installation import deploy as roll_out
from ray_pipeline.kubernetes.deploy.kube import Kube, connect
from ray_pipeline.kubernetes.deploy.manifest_source import NAMESPACE, read, without_components
from ray_pipeline.kubernetes.deploy.needs import home_of
from ray_pipeline.kubernetes.deploy.objects import Json
from ray_pipeline.kubernetes.deploy.plan import (
    api_server_cut_off,
    missing_kinds,
    missing_secrets,
    served,
    settings_without_effect,
)
from ray_pipeline.kubernetes.deploy.plan import plan as compare
from ray_pipeline.kubernetes.deploy.revisions import dropped, latest, target
from ray_pipeline.kubernetes.deploy.rollout import Progress, Rollout
from ray_pipeline.kubernetes.deploy.sizing import cache_need_of, maxmemory_bytes, needs
from ray_pipeline.kubernetes.manifests.build import build

P = ParamSpec("P")
FAILED = 1
CHANGES = 2
INTERRUPTED = 130
TIMEOUT_S = 900.0
# The manifests are in the current folder, in the checkout of this module, or in the package.
ROOTS = (Path(), Path(__file__).resolve().parents[2], Path(__file__).resolve().parents[1])

deploy_app = typer.Typer(
    no_args_is_help=True,
    help="Apply the manifests to a Kubernetes cluster: plan, apply, status, rollback, delete. "
    "Exit status: 0 done, 1 not done or not ready, 2 (plan) changes, 130 Ctrl-C.",
)

Overlay = Annotated[
    str,
    typer.Argument(help="lite, ha, dev, a folder with a kustomization, or a file of manifests."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(help="Leave a component out, such as monitoring; may be repeated."),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="For objects without a namespace. Default: Ray's."),
]
OfInstallation = Annotated[
    str, typer.Option("--namespace", "-n", help="The namespace of the installation.")
]
Kubeconfig = Annotated[
    Path | None, typer.Option(help="Default: KUBECONFIG, then ~/.kube/config, then the pod's own.")
]
Context = Annotated[
    str | None, typer.Option(help="A context of the kubeconfig. Default: the current one.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Force = Annotated[
    bool, typer.Option("--force-conflicts", help="Take over fields that other programs set.")
]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds to wait for all objects to be ready.")]


def _command(function: Callable[P, int]) -> Callable[P, None]:
    """
    Turn a function that returns an exit code into a command.

    The Kubernetes client blocks, so these commands are synchronous, unlike the others. Ctrl-C
    therefore reaches them at once.
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

    The plan is the server's dry run, so it includes the server's defaults and checks, and your
    rights. Values of secrets are never shown. Exit status: 0 no changes, 2 changes, 1 the manifests
    cannot be applied.
    """
    objects = _objects(overlay, namespace, without)
    with _cluster(kubeconfig, context) as kube:
        objects, _ = _served(kube, objects, silent=as_json)
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
    Show the plan, ask for confirmation, apply it in order, and wait until all objects are ready.

    The order: namespaces, operators, secrets, configuration, stores, Kafka, topics and users,
    migration, Ray, applications, everything else. An object that is stuck is explained, with a fix.
    An apply may be repeated at any time. Each apply is a revision to which `rollback` can return.
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
    namespace: OfInstallation = NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: AsJson = False,
) -> int:
    """
    Show every object of the installation; for those that are not ready, the reason and the fix.

    Exit status: 0 if all objects are ready, 1 if not.
    """
    with _cluster(kubeconfig, context) as kube:
        last, history = current(kube, namespace)
        objects = statuses(kube, last)
    if as_json:
        rows = [asdict(status) for status in objects]
        print_json({"revision": last.number, "state": last.state, "objects": rows})
    else:
        show(render_statuses(last, history, objects))
    return 0 if all(status.readiness.state == "ready" for status in objects) else FAILED


@deploy_app.command("rollback")
@_command
def rollback(
    *,
    to: Annotated[
        int | None, typer.Option(help="A revision's number. Default: the last ready one.")
    ] = None,
    namespace: OfInstallation = NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    yes: Yes = False,
    force_conflicts: Force = False,
    timeout: Timeout = TIMEOUT_S,
) -> int:
    """
    Apply the manifests of an earlier revision again, as a new one.

    Data and the database's schema do not go back: migrations only add.
    """
    with _cluster(kubeconfig, context) as kube:
        _, history = current(kube, namespace)
        goal = target(history, to)
        typer.echo(f"back to revision {goal.number} of {goal.at}, from {goal.source}")
        return _apply(
            kube, goal.objects, source=f"rollback to {goal.number}",
            command=_apply_command("OVERLAY", None),
            yes=yes, force=force_conflicts, timeout_s=timeout,
        )  # fmt: skip


@deploy_app.command("delete")
@_command
def delete(
    *,
    data: Annotated[
        bool, typer.Option("--data", help="Delete volumes and namespaces too, with all data.")
    ] = False,
    namespace: OfInstallation = NAMESPACE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    yes: Yes = False,
    timeout: Timeout = TIMEOUT_S,
) -> int:
    """
    Delete the installation in reverse order. Without --data, volumes and collected data stay.

    Ray and the jobs end first, then the stores, at last the operators; each wait is for the pods
    too. An interrupted delete can be repeated. At the end, the command prints what is left.
    """
    with _cluster(kubeconfig, context) as kube:
        last, _ = current(kube, namespace)
        extent = "DATA TOO" if data else f"except {', '.join(sorted(HOLDS_DATA))}"
        typer.echo(f"revision {last.number}: {len(last.refs)} objects are deleted, {extent}")
        _confirm(f"Delete the installation in {namespace} on {kube.host}?", yes=yes)
        rollout = _rollout(kube, timeout_s=timeout)
        with _interruptible(rollout.progress, "run the same delete again to continue"):
            remaining = undeploy(rollout, namespace=namespace, data=data)
    typer.echo("deleted" + "".join(f"\n  left: {ref}" for ref in remaining))
    if command := removal_command(remaining, namespace):
        typer.echo(f"`{command}` deletes what is left, with the collected data and the secrets")
    return 0


@deploy_app.command("sizing")
@_command
def sizing(
    *,
    profile: Annotated[str, typer.Option(help="lite, ha, dev, or a path.")] = "lite",
    symbols: Annotated[int, typer.Option(help="Symbols of all feeds, for Redis.")] = 1_000,
    as_json: AsJson = False,
) -> int:
    """
    Add up the pods, the memory and the CPU that the manifests request; this needs no cluster.

    The sums are compared with five servers of 4 cores and 8 GB, less the shares of K3s and the
    system. Exit status: 1 if they do not fit, even for the minutes of an upgrade.
    """
    objects = _objects(profile, None)
    pods, cache = needs(objects), cache_need_of(objects, symbols=symbols)
    report = sizing_as_json(profile, pods)
    if as_json:
        print_json({**report, "redis": asdict(cache)})
    else:
        show(render_needs(profile, pods))
        show(f"Redis: {cache.text(symbols, maxmemory_bytes(objects))}.")
    return 0 if report["fits"] else FAILED


def _objects(
    overlay: str, namespace: str | None, without: Sequence[str] | None = None
) -> list[Json]:
    return without_components(read(overlay, build, roots=ROOTS, namespace=namespace), without or ())


def _served(
    kube: Kube, objects: Sequence[Json], *, silent: bool = False
) -> tuple[list[Json], tuple[str, ...]]:
    """Return what the cluster can take, and print and return what is left out."""
    taken = served(kube, objects)
    for reason in () if silent else taken.left_out:
        typer.echo(f"note: {reason}")
    return taken.objects, taken.components


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
        kube.version()  # fails at once if the cluster is away
        yield kube
    finally:
        kube.close()


def _plan(kube: Kube, objects: Sequence[Json], *, force: bool) -> list[Change]:
    last = latest(revisions(kube, home_of(objects) or NAMESPACE))
    return compare(kube, objects, dropped(last, objects), force=force)


def _show_plan(kube: Kube, objects: Sequence[Json], changes: Sequence[Change]) -> None:
    for line in plan_lines(changes):
        typer.echo(line)
    for finding in [
        *missing_secrets(kube, objects),
        *api_server_cut_off(kube, objects),
        *settings_without_effect(objects, changes),
    ]:
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
    objects, left_out = _served(kube, objects)
    # The revision says what it lacks: `status` and `rollback` show its source.
    source = " without ".join([source, *left_out])
    _require_kinds(kube, objects, command)
    changes = _plan(kube, objects, force=force)
    _show_plan(kube, objects, changes)
    if _blocked(changes):
        raise ConfigurationError(
            "nothing was applied: the server refuses the objects marked ! above",
            fix="apply the fix of each of these objects",
        )
    last = latest(revisions(kube, namespace))
    if last and last.state == "ready" and not any(change.counts for change in changes):
        typer.echo(f"nothing to do: revision {last.number} equals the manifests")
        return 0
    _confirm(f"Apply this to {kube.host}?", yes=yes)
    rollout = _rollout(kube, timeout_s=timeout_s, force=force)
    advice = "the same command again goes on here; `ray-pipeline deploy rollback` goes back"
    with _interruptible(rollout.progress, advice):
        revision = roll_out(rollout, objects, namespace=namespace, source=source)
    typer.echo(f"revision {revision.number} is ready")
    return 0


def _rollout(kube: Kube, *, timeout_s: float, force: bool = False) -> Rollout:
    deadline_s = time.monotonic() + timeout_s
    return Rollout(kube, say=typer.echo, deadline_s=deadline_s, force=force)


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError("confirmation needs a terminal", fix="add --yes")
    if not typer.confirm(question):
        raise typer.Exit(FAILED)


@contextmanager
def _interruptible(progress: Progress, advice: str) -> Iterator[None]:
    """After Ctrl-C, print the progress and how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(
            f"\ninterrupted at {progress.wave}: {len(progress.done)} of {progress.total} objects "
            f"were {progress.verb}; they stay {progress.verb}, and the cluster continues with the "
            "present objects",
            err=True,
        )
        for line in progress.waiting:
            typer.echo(f"  not ready: {line}", err=True)
        typer.echo(f"{advice}; `ray-pipeline deploy status` shows the state", err=True)
        raise
