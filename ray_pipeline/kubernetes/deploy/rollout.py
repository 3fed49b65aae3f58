"""
Apply wave by wave, wait for each wave and at last for the data; delete in reverse order.

Nothing is rolled back on failure: Kubernetes keeps working towards the applied objects, the old
cluster of a RayService serves meanwhile, and the same apply may be repeated at any time.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ray_pipeline.errors import PipelineError
from ray_pipeline.kubernetes.deploy.collecting import collecting_state, supervised
from ray_pipeline.kubernetes.deploy.explain import explain
from ray_pipeline.kubernetes.deploy.failures import MissingKinds, ObjectRefused, UnknownKind
from ray_pipeline.kubernetes.deploy.gather import gather
from ray_pipeline.kubernetes.deploy.kinds import Kind, how_to_get
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.live_state import live_state, pods_to_replace
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, of_kind, ref_of
from ray_pipeline.kubernetes.deploy.order import KEPT, NAMESPACES, OPERATORS, Wave, waves
from ray_pipeline.kubernetes.deploy.plan import missing_kinds, must_replace, unserved_kinds
from ray_pipeline.kubernetes.deploy.pod_diagnosis import Diagnosis
from ray_pipeline.kubernetes.deploy.readiness import Readiness, readiness
from ray_pipeline.kubernetes.deploy.remains import remains
from ray_pipeline.kubernetes.deploy.reminder import Reminder

POLL_S = 2.0
KINDS_S = 120.0  # an operator's chart contains its definitions: they are served within seconds
EXPLAIN_AFTER_S = 20.0  # of waiting: a pod that is merely starting needs no explanation yet

Probe = Callable[[Ref], Readiness]


class NotReady(PipelineError):
    """An object did not become ready; the message lists the reasons, each with its fix."""

    def __init__(self, message: str, diagnoses: Sequence[Diagnosis]) -> None:
        reasons = "\n".join(f"- {diagnosis}" for diagnosis in diagnoses)
        super().__init__(f"{message}\n{reasons}")


@dataclass(slots=True)
class Progress:
    """The progress of a rollout, reported after Ctrl-C."""

    done: list[Ref] = field(default_factory=list)
    total: int = 0
    verb: str = "applied"
    wave: str = ""
    waiting: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Rollout:
    """
    One apply or delete on a cluster.

    Attributes:
        say: Receives one line for each step.
        deadline_s: By `clock`; afterwards the objects that are not ready are explained, and the
            rollout fails.
        kinds_s: The time in which kinds must be served once their operators' charts are installed.
        force: Take over fields that other managers own.
    """

    kube: Kube
    say: Callable[[str], None]
    deadline_s: float
    force: bool = False
    poll_s: float = POLL_S
    kinds_s: float = KINDS_S
    explain_after_s: float = EXPLAIN_AFTER_S
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    progress: Progress = field(default_factory=Progress)

    def apply(self, objects: Sequence[Json]) -> None:
        """
        Apply the objects, wave by wave; each wave must be ready before the next one begins.

        At the end, wait until the supervisor of this release reports that it collects.

        Raises:
            MissingKinds, ConfigurationError: Before anything is applied, as `check`.
            NotReady: If a wave is not ready in time, or cannot become ready. The applied objects
                stay, and the cluster continues with them.
        """
        self.check(objects)
        self.progress.total = len(objects)
        for wave in waves(objects):
            self._apply_wave(wave)
            self._until({ref_of(obj): self._state for obj in wave.objects}, goal="ready")
            if wave.name == NAMESPACES:
                # In a namespace that did not exist, the server could check nothing before.
                self._dry_run(objects)
            if wave.name == OPERATORS:
                # A chart is ready once its Job has ended; its definitions are served a bit later.
                self._wait_for_kinds(objects)
        self._wait_until_collecting(objects)

    def check(self, objects: Sequence[Json]) -> None:
        """
        Raise the errors that would stop an apply of the objects half-way; apply nothing.

        Raises:
            MissingKinds: If a kind is not served and no object of the manifests installs it.
            ConfigurationError: If an annotation names a wave that does not exist.
        """
        waves(objects)
        if absent := missing_kinds(self.kube, objects):
            raise MissingKinds(absent, command="ray-pipeline deploy apply ...")

    def remove(self, refs: Sequence[Ref]) -> None:
        """Delete objects that the manifests no longer have, except those that hold data."""
        for ref in refs:
            if ref.kind not in KEPT:
                self.say(f"delete {ref}: no longer in the manifests")
                self.kube.delete(ref)

    def delete(self, objects: Sequence[Json]) -> None:
        """
        Delete the objects, last wave first; each wave must be gone before the next one begins.

        Gone are also its pods, which need the objects of earlier waves until they have ended: what
        produces is stopped before Kafka, and the operators run until the finalizers are removed.
        Objects that do not exist any more are waited for all the same, so a delete can be repeated.

        Raises:
            NotReady: If an object or its pods are not gone in time; the message names them.
        """
        self.progress.verb, self.progress.total = "deleted", len(objects)
        for wave in reversed(waves(objects)):
            self.progress.wave = wave.name
            for obj in wave.objects:
                self._delete(ref_of(obj))
            gone = {ref_of(obj): partial(self._remains, obj) for obj in wave.objects}
            self._until(gone, goal="missing")
            self.progress.done.extend(gone)

    def _delete(self, ref: Ref) -> None:
        if self.kube.find(ref) is not None:
            self.say(f"delete {ref}")
            self.kube.delete(ref)

    def _remains(self, obj: Json, ref: Ref) -> Readiness:
        state = self._existence(ref)
        return remains(self.kube, obj) if state.state == "missing" else state

    def _apply_wave(self, wave: Wave) -> None:
        self.progress.wave = wave.name
        self.say(f"{wave.name}: {len(wave.objects)} to apply")
        for obj in wave.objects:
            self._apply_object(obj)
            self.progress.done.append(ref_of(obj))
        for cluster in of_kind(wave.objects, "RayCluster"):
            self._replace_pods(ref_of(cluster))

    def _replace_pods(self, cluster: Ref) -> None:
        live = self.kube.get(cluster)
        for pod in pods_to_replace(self.kube, live) if live is not None else ():
            self.say(f"{pod}: deleted, KubeRay creates it again with the new spec of {cluster}")
            self.kube.delete(pod)

    def _dry_run(self, objects: Sequence[Json]) -> None:
        """Let the server check all objects before the first of them is applied."""
        for obj in objects:
            try:
                self.kube.apply(obj, dry_run=True, force=self.force)
            except UnknownKind:
                continue  # an operator of these manifests installs it
            except ObjectRefused as error:
                if ref_of(obj).kind != "Job" or not error.immutable:
                    raise

    def _apply_object(self, obj: Json) -> None:
        # A Job runs once and its pods cannot be changed. A failed or changed Job is replaced.
        ref = ref_of(obj)
        if ref.kind == "Job" and must_replace(self.kube.get(ref)):
            self._delete_to_replace(ref)
        try:
            self.kube.apply(obj, force=self.force)
        except ObjectRefused as error:
            if ref.kind != "Job" or not error.immutable:
                raise
            self._delete_to_replace(ref)
            self.kube.apply(obj, force=self.force)

    def _delete_to_replace(self, ref: Ref) -> None:
        self.say(f"{ref}: deleted, to be created again")
        self.kube.delete(ref)
        self._until({ref: self._existence}, goal="missing")

    def _existence(self, ref: Ref) -> Readiness:
        return readiness(self.kube.find(ref))

    def _state(self, ref: Ref) -> Readiness:
        return live_state(self.kube, ref)

    def _wait_until_collecting(self, objects: Sequence[Json]) -> None:
        self.progress.wave = "collecting"
        urls = supervised(objects)
        self._until(
            {ref: partial(collecting_state, self.kube, url=url) for ref, url in urls.items()},
            goal="ready",
        )

    def _until(self, probes: Mapping[Ref, Probe], *, goal: str) -> None:
        """
        Poll until all objects have the state `goal`; report changes, and explain long waits.

        Raises:
            NotReady: At once if an object failed for good; else at the deadline.
        """
        reported: dict[Ref, str] = {}
        explained: set[Diagnosis] = set()
        explain_at_s = self.clock() + self.explain_after_s
        reminder = Reminder(since_s=self.clock())
        while True:
            states = {ref: probe(ref) for ref, probe in probes.items()}
            late = {ref: state for ref, state in states.items() if state.state != goal}
            self.progress.waiting = [f"{ref}: {state.detail}" for ref, state in late.items()]
            self._report(states, late, reported)
            if not late:
                return
            failed = [ref for ref, state in late.items() if state.state == "failed"]
            if failed or self.clock() >= self.deadline_s:
                named = {ref: late[ref] for ref in failed} or late
                raise self._not_ready(named, goal, failed=bool(failed))
            if self.clock() >= explain_at_s:
                explain_at_s = self.clock() + self.explain_after_s
                self._explain(late, explained)
            if line := reminder.line(late, now_s=self.clock()):
                self.say(line)
            self.pause(self.poll_s)

    def _report(
        self, states: dict[Ref, Readiness], late: dict[Ref, Readiness], reported: dict[Ref, str]
    ) -> None:
        """Report each change of an object's state; not an object that was ready at once."""
        for ref, state in states.items():
            if ref in late or ref in reported:
                if reported.get(ref) != state.detail:
                    self.say(f"{'  ...' if ref in late else '  ok '} {ref}: {state.detail}")
                reported[ref] = state.detail

    def _explain(self, late: Mapping[Ref, Readiness], explained: set[Diagnosis]) -> None:
        """Report the diagnoses that were not reported before."""
        for diagnosis in self._diagnoses(late):
            if diagnosis not in explained:
                explained.add(diagnosis)
                self.say(f"  still waiting; {diagnosis}")

    def _diagnoses(self, states: Mapping[Ref, Readiness]) -> list[Diagnosis]:
        diagnoses = [
            diagnosis
            for ref, state in states.items()
            for diagnosis in state.findings or explain(gather(self.kube, ref, self.kube.find(ref)))
        ]
        return list(dict.fromkeys(diagnoses))

    def _not_ready(self, states: Mapping[Ref, Readiness], goal: str, *, failed: bool) -> NotReady:
        names, state = ", ".join(map(str, states)), "gone" if goal == "missing" else goal
        outcome = f"cannot become {state}" if failed else f"did not become {state} in time"
        return NotReady(f"{names} {outcome}:", self._diagnoses(states))

    def _wait_for_kinds(self, objects: Sequence[Json]) -> None:
        """
        Wait until the server serves all kinds; the charts of their operators are installed by now.

        Raises:
            NotReady: If a chart failed, or if a kind is not served in time.
        """
        deadline_s = min(self.deadline_s, self.clock() + self.kinds_s)
        charts = [ref for ref in map(ref_of, objects) if ref.kind == "HelmChart"]
        reported = ""
        while kinds := unserved_kinds(self.kube, objects):
            names = ", ".join(f"{kind} ({version})" for version, kind in kinds)
            if names != reported:
                self.say(f"  ... waiting for the kinds {names}")
                reported = names
            self.progress.waiting = [f"{names}: not served yet"]
            states = {ref: self._state(ref) for ref in charts}
            if failed := {ref: state for ref, state in states.items() if state.state == "failed"}:
                raise self._not_ready(failed, "ready", failed=True)
            if self.clock() >= deadline_s:
                raise _kinds_not_served(names, kinds, charts)
            self.pause(self.poll_s)


def _kinds_not_served(names: str, kinds: Sequence[Kind], charts: Sequence[Ref]) -> NotReady:
    installed = ", ".join(ref.short for ref in charts) or "the definitions"
    logs = " and ".join(
        f"`kubectl logs -n {ref.namespace} job/helm-install-{ref.name}`" for ref in charts
    )
    command = logs or "`kubectl get crd`"
    diagnoses = [
        Diagnosis(
            f"{kind} ({version})",
            "the API server does not serve it",
            f"{command} shows what was installed; else {how_to_get(version, kind)}",
        )
        for version, kind in kinds
    ]
    return NotReady(f"{names}: not served, though {installed} should have brought them:", diagnoses)
