"""Apply in waves, wait for each, and say what happens; delete the other way round."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ray_pipeline.errors import PipelineError
from ray_pipeline.kubernetes.deploy.explain import explain
from ray_pipeline.kubernetes.deploy.failures import MissingKinds, Refused, UnknownKind
from ray_pipeline.kubernetes.deploy.gather import gather
from ray_pipeline.kubernetes.deploy.kinds import Kind, how_to_get
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, dig, ref_of, text
from ray_pipeline.kubernetes.deploy.order import KEPT, NAMESPACES, OPERATORS, Wave, waves
from ray_pipeline.kubernetes.deploy.plan import missing_kinds, must_replace, unserved_kinds
from ray_pipeline.kubernetes.deploy.pod_problems import Finding
from ray_pipeline.kubernetes.deploy.readiness import Readiness, readiness

POLL_S = 2.0
KINDS_S = 120.0  # an operator's chart has its definitions in it: they are served within seconds
EXPLAIN_AFTER_S = 20.0  # of waiting: a pod that is merely starting needs no explanation yet


class NotReady(PipelineError):
    """
    Something did not become ready.

    Attributes:
        findings: Why, each with its fix.
    """

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        why = "\n".join(f"- {finding}" for finding in self.findings)
        super().__init__(f"{message}\n{why}")


@dataclass(slots=True)
class Progress:
    """How far a rollout is; told after Ctrl-C."""

    applied: list[Ref] = field(default_factory=list)
    total: int = 0
    wave: str = ""
    waiting: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Rollout:
    """
    One apply or delete on a cluster.

    Attributes:
        say: Told each step, one line.
        deadline_s: By `clock`; after it, what is not ready is explained and given up.
        kinds_s: For so long, after the operators' charts are installed, their kinds may be missing.
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
        Apply the objects, wave by wave; each wave must be ready before the next.

        Raises:
            MissingKinds, ConfigurationError: Before anything was applied, as `check`.
            NotReady: If a wave is not ready in time, or cannot become ready. What was applied
                stays, and the cluster goes on with it.
        """
        self.check(objects)
        self.progress.total = len(objects)
        for wave in waves(objects):
            self._apply_wave(wave)
            self._wait(wave)
            if wave.name == NAMESPACES:
                self._try(objects)
            if wave.name == OPERATORS:
                self._wait_for_kinds(objects)

    def check(self, objects: Sequence[Json]) -> None:
        """
        Raise what would stop an apply of the objects half-way; apply nothing.

        Raises:
            MissingKinds: If a kind is not served and nothing in the manifests brings it.
            ConfigurationError: If an annotation names a wave that does not exist.
        """
        waves(objects)
        if absent := missing_kinds(self.kube, objects):
            raise MissingKinds(absent, command="ray-pipeline deploy apply ...")

    def remove(self, refs: Sequence[Ref]) -> None:
        """Delete objects that the manifests no longer have, but for those that hold data."""
        for ref in refs:
            if ref.kind not in KEPT:
                self.say(f"delete {ref}: no longer in the manifests")
                self._delete(ref)

    def delete(self, objects: Sequence[Json]) -> None:
        """
        Delete the objects, last wave first; each wave must be gone before the next.

        So operators are there until they have cleaned up behind their own objects.

        Raises:
            NotReady: If something is not gone in time.
        """
        self.progress.total = len(objects)
        for wave in reversed(waves(objects)):
            self.progress.wave = wave.name
            for obj in wave.objects:
                self.say(f"delete {ref_of(obj)}")
                self._delete(ref_of(obj))
            self._until(
                {ref_of(obj): self._gone for obj in wave.objects}, done="missing", what="gone"
            )

    def _apply_wave(self, wave: Wave) -> None:
        self.progress.wave = wave.name
        self.say(f"{wave.name}: {len(wave.objects)} to apply")
        for obj in wave.objects:
            self._apply_one(obj)
            self.progress.applied.append(ref_of(obj))

    def _try(self, objects: Sequence[Json]) -> None:
        """Ask for a dry run of all, now that their namespaces are there, before any is applied."""
        for obj in objects:
            try:
                self.kube.apply(obj, dry_run=True, force=self.force)
            except UnknownKind:
                continue  # an operator of this release brings it
            except Refused as error:
                if ref_of(obj).kind != "Job" or not error.immutable:
                    raise

    def _apply_one(self, obj: Json) -> None:
        ref = ref_of(obj)
        if ref.kind == "Job" and must_replace(self.kube.get(ref)):
            self._make_anew(ref)
        try:
            self.kube.apply(obj, force=self.force)
        except Refused as error:
            if ref.kind != "Job" or not error.immutable:
                raise
            self._make_anew(ref)
            self.kube.apply(obj, force=self.force)

    def _make_anew(self, ref: Ref) -> None:
        self.say(f"{ref}: deleted, to be made anew")
        self._delete(ref)
        self._until({ref: self._gone}, done="missing", what="gone")

    def _delete(self, ref: Ref) -> None:
        try:
            self.kube.delete(ref)
        except UnknownKind:
            return  # with its kind, the object is gone too

    def _gone(self, ref: Ref) -> Readiness:
        try:
            return readiness(self.kube.get(ref))
        except UnknownKind:
            return readiness(None)

    def _wait(self, wave: Wave) -> None:
        probes: dict[Ref, Callable[[Ref], Readiness]] = {
            ref_of(obj): self._state for obj in wave.objects
        }
        self._until(probes, done="ready", what="ready")

    def _state(self, ref: Ref) -> Readiness:
        live = self.kube.get(ref)
        state = readiness(live)
        if ref.kind == "HelmChart" and state.state == "ready":
            return self._of_its_job(
                Ref("batch/v1", "Job", ref.namespace, text(live, "status", "jobName"))
            )
        return state

    def _of_its_job(self, job: Ref) -> Readiness:
        live = self.kube.get(job)
        if live is None:
            return Readiness("ready", "installed")  # its job was cleared
        if dig(live, "spec", "suspend") is True:
            return Readiness("waiting", "its job has not begun")  # K3s creates it suspended
        return readiness(live)

    def _until(
        self, probes: dict[Ref, Callable[[Ref], Readiness]], *, done: str, what: str
    ) -> None:
        """Wait until all are `done`; say each change, and explain what takes long."""
        said: dict[Ref, str] = {}
        told: set[Finding] = set()
        explain_at_s = self.clock() + self.explain_after_s
        while True:
            states = {ref: probe(ref) for ref, probe in probes.items()}
            late = {ref: state for ref, state in states.items() if state.state != done}
            self.progress.waiting = [f"{ref}: {state.detail}" for ref, state in late.items()]
            self._say_news(states, late, said)
            if not late:
                return
            failed = [ref for ref, state in late.items() if state.state == "failed"]
            if failed or self.clock() >= self.deadline_s:
                raise self._not_ready(failed or list(late), what, failed=bool(failed))
            if self.clock() >= explain_at_s:
                explain_at_s = self.clock() + self.explain_after_s
                self._tell(list(late), told)
            self.pause(self.poll_s)

    def _say_news(
        self, states: dict[Ref, Readiness], late: dict[Ref, Readiness], said: dict[Ref, str]
    ) -> None:
        for ref, state in states.items():
            # What was ready when first looked at is no news.
            if said.get(ref) != state.detail and (ref in late or ref in said):
                self.say(f"{'  ...' if ref in late else '  ok '} {ref}: {state.detail}")
            if ref in late or ref in said:
                said[ref] = state.detail

    def _tell(self, late: Sequence[Ref], told: set[Finding]) -> None:
        for finding in self._findings(late):
            if finding not in told:
                told.add(finding)
                self.say(f"  still waiting; {finding}")

    def _findings(self, refs: Sequence[Ref]) -> list[Finding]:
        found = [
            finding
            for ref in refs
            for finding in explain(gather(self.kube, ref, self.kube.get(ref)))
        ]
        return list(dict.fromkeys(found))

    def _not_ready(self, refs: Sequence[Ref], what: str, *, failed: bool) -> NotReady:
        names = ", ".join(str(ref) for ref in refs)
        why = "cannot become" if failed else "did not become"
        return NotReady(
            f"{names} {why} {what}{'' if failed else ' in time'}:", self._findings(refs)
        )

    def _wait_for_kinds(self, objects: Sequence[Json]) -> None:
        """Wait until the server serves all kinds; their operators' charts are installed by now."""
        deadline_s = min(self.deadline_s, self.clock() + self.kinds_s)
        charts = [ref for ref in map(ref_of, objects) if ref.kind == "HelmChart"]
        said = ""
        while kinds := unserved_kinds(self.kube, objects):
            names = ", ".join(f"{kind} ({version})" for version, kind in kinds)
            if names != said:
                self.say(f"  ... waiting for the kinds {names}")
                said = names
            self.progress.waiting = [f"{names}: not served yet"]
            failed = [ref for ref in charts if self._state(ref).state == "failed"]
            if failed:
                raise self._not_ready(failed, "ready", failed=True)
            if self.clock() >= deadline_s:
                raise self._without_kinds(names, kinds, charts)
            self.pause(self.poll_s)

    def _without_kinds(self, names: str, kinds: Sequence[Kind], charts: Sequence[Ref]) -> NotReady:
        installed = ", ".join(ref.short for ref in charts) or "the definitions"
        return NotReady(
            f"{names}: not served, though {installed} should have brought them:",
            [
                Finding(
                    f"{kind} ({version})",
                    "the API server does not serve it",
                    _fix(version, kind, charts),
                )
                for version, kind in kinds
            ],
        )


def _fix(version: str, kind: str, charts: Sequence[Ref]) -> str:
    logs = " and ".join(
        f"`kubectl logs -n {ref.namespace} job/helm-install-{ref.name}`" for ref in charts
    )
    return (
        f"{logs or '`kubectl get crd`'} shows what was installed; else {how_to_get(version, kind)}"
    )
