"""What a pod's status says of its model; the log tails are those of tritonserver 2.51 as the kubelet keeps them."""

from dataclasses import replace

import pytest

from littoral.api.workload import ContainerFacts, PodFacts
from littoral.modelstore.errors import REASONS
from littoral.modelstore.report import FailedModel, Report
from littoral.triton.diagnosis import diagnose, triton_sentence

OK = ContainerFacts(exit_code=0, termination_message=Report("ok").dump())
POD = PodFacts(
    namespace="line", name="p", uid="", node="a", slice="s", revision="r", phase="Running", deleting=False,
    fetch=OK, server=ContainerFacts(ready=True, running=True), grant=None,
)  # fmt: skip

TABLE = """\
| rate_limit                       | OFF                                                                       |
| exit_timeout                     | 30                                                                        |
+----------------------------------+---------------------------------------------------------------------------+

I1122 03:50:32.755302 14935 server.cc:305] "Waiting for in-flight requests to complete."
I1122 03:50:32.755308 14935 server.cc:321] "Timeout 30: Found 0 model versions that have in-flight inferences"
I1122 03:50:32.755358 14935 server.cc:336] "All models are stopped, unloading models"
"""
NO_BACKEND = (
    "Invalid argument: unable to find backend library for backend 'onnxruntime', "
    "try specifying runtime on the model configuration."
)

LOGS = {
    "the last line, which is all that the tables leave": (
        (
            f"{TABLE}error: creating server: Invalid argument - load failed for model 'plate_reader': "
            f"version 1 is at UNAVAILABLE state: {NO_BACKEND};\n"
        ),
        NO_BACKEND,
    ),
    "an exception of the python backend, over several lines": (
        (
            "error: creating server: Invalid argument - load failed for model 'plate': version 1 is at UNAVAILABLE "
            "state: Internal: ModuleNotFoundError: No module named 'cv2'\n\nAt:\n  model.py(3): x\n;"
        ),
        "Internal: ModuleNotFoundError: No module named 'cv2'",
    ),
    "the line of the life cycle": (
        (
            f"E1122 03:50:32.745452 1 cycle.cc:642] \"failed to load 'plate_reader' version 1: {NO_BACKEND}\"\n"
            "I1122 03:50:32.745484 1 model_lifecycle.cc:777] \"failed to load 'plate_reader'\"\n"
        ),
        NO_BACKEND,
    ),
    "the table of models": (f"| plate_reader | 1       | UNAVAILABLE: {NO_BACKEND} |\n{TABLE}", NO_BACKEND),
    "a configuration that cannot be read": (
        f"{TABLE}error: creating server: Internal - failed to load all models\n",
        "creating server: Internal - failed to load all models",
    ),
    "another program's last words": ("exec: tritonserver: not found\n+---+\n", "exec: tritonserver: not found"),
    "nothing": ("\n", "Triton said nothing"),
}


@pytest.mark.parametrize("case", LOGS)
def test_triton_says_why_a_model_did_not_load(case: str) -> None:
    log, sentence = LOGS[case]
    assert triton_sentence(log) == sentence


def failed(reason: str, message: str = "why") -> ContainerFacts:
    return ContainerFacts(exit_code=1, termination_message=Report("failed", reason, message).dump())


def waiting(reason: str, message: str = "") -> ContainerFacts:
    return ContainerFacts(waiting_reason=reason, waiting_message=message)


NEW = ContainerFacts()
PODS = {
    "no pod": (None, ("Unknown", "Unknown", "Starting", "waiting for its pod")),
    "refused": (replace(POD, scheduling_message="0/3 nodes"), ("Unknown", "Unknown", "PodRefused", "0/3 nodes")),
    "just made": (replace(POD, fetch=NEW, server=NEW), ("Unknown", "Unknown", "Starting", "its pod is starting")),
    "no image": (
        replace(POD, fetch=waiting("ImagePullBackOff", "Back-off pulling"), server=NEW),
        ("Unknown", "Unknown", "ImageUnavailable", "Back-off pulling"),
    ),
    "no Triton image": (
        replace(POD, server=waiting("ErrImagePull")),
        ("True", "Unknown", "ImageUnavailable", "ErrImagePull"),
    ),
    "no config": (
        replace(POD, server=waiting("CreateContainerConfigError", "no secret")),
        ("True", "Unknown", "CreateContainerConfigError", "no secret"),
    ),
    "fetching": (
        replace(POD, fetch=ContainerFacts(running=True), server=waiting("PodInitializing")),
        ("Unknown", "Unknown", "Fetching", "fetching the model"),
    ),
    "fetching again": (
        replace(POD, fetch=replace(failed("DigestMismatch", "not the bytes"), running=True), server=NEW),
        ("Unknown", "Unknown", "Fetching", "fetching the model; before that: DigestMismatch: not the bytes"),
    ),
    "fetching again after a restart of its machine": (
        replace(POD, fetch=replace(OK, running=True), server=NEW),
        ("Unknown", "Unknown", "Fetching", "fetching the model"),
    ),
    "the fetch was killed": (
        replace(POD, fetch=ContainerFacts(exit_code=137), server=NEW),
        ("False", "Unknown", "FetchFailed", "the fetch container ended with 137: "),
    ),
    "a word that no fetch says": (
        replace(POD, fetch=failed("x" * 200), server=NEW),
        ("False", "Unknown", "FetchFailed", "why"),
    ),
    "a failure that calls itself a success": (
        replace(POD, fetch=replace(OK, exit_code=1), server=NEW),
        ("False", "Unknown", "FetchFailed", ""),
    ),
    "an end without a report proves nothing": (
        replace(POD, fetch=ContainerFacts(exit_code=0), server=ContainerFacts(running=True)),
        ("Unknown", "Unknown", "FetchUnproven", "the fetch container ended without a report"),
    ),
    "nor does it when the server answers": (
        replace(POD, fetch=ContainerFacts(exit_code=0, termination_message="Unable to get init container status")),
        ("Unknown", "True", "FetchUnproven", "the fetch container ended without a report"),
    ),
    "loading": (
        replace(POD, server=ContainerFacts(running=True)),
        ("True", "Unknown", "Loading", "Triton is loading the model"),
    ),
    "crash loop": (
        replace(POD, server=replace(waiting("CrashLoopBackOff"), exit_code=1, termination_message="error: no")),
        ("True", "False", "ModelLoadFailed", "no"),
    ),
    "killed without a word": (
        replace(POD, server=replace(waiting("CrashLoopBackOff"), exit_code=137)),
        ("True", "False", "ModelLoadFailed", "Triton ended with 137, without a word"),
    ),
    "serving": (POD, ("True", "True", "Serving", "the model answers")),
}


@pytest.mark.parametrize("case", PODS)
def test_a_pod_says_how_far_its_model_has_come(case: str) -> None:
    pod, expected = PODS[case]
    seen = diagnose(pod)
    assert (seen.fetched, seen.loaded, seen.reason, seen.message) == expected
    assert not seen.terminal


@pytest.mark.parametrize("reason", REASONS)
def test_a_fetch_that_failed_says_why_and_whether_it_heals(reason: str) -> None:
    seen = diagnose(replace(POD, fetch=failed(reason), server=NEW))
    assert (seen.fetched, seen.reason, seen.message) == ("False", reason, "why")
    assert seen.terminal is not REASONS[reason]


class TestASharedServer:
    """Of one model among those of a server."""

    def pod(self, *failures: FailedModel, **changes: object) -> PodFacts:
        report = Report("partial" if failures else "ok", failures=failures)
        fetch = ContainerFacts(exit_code=0, termination_message=report.dump())
        ready = ContainerFacts(ready=True, running=True)
        models = {"a": ready, "b": ready, "c": ContainerFacts(running=True)}
        return replace(POD, **{"fetch": fetch, "model_containers": models, **changes})  # type: ignore[arg-type]  # a test's keywords

    def test_what_its_own_container_says_counts(self) -> None:
        assert diagnose(self.pod(), ("a",)).reason == "Serving"
        assert diagnose(self.pod(), ("a", "b")).loaded == "True"

    def test_triton_is_up_and_the_log_says_why_it_does_not_serve_it(self) -> None:
        seen = diagnose(self.pod(), ("c",))
        assert (seen.fetched, seen.loaded, seen.reason) == ("True", "False", "ModelNotReady")
        assert seen.message == (
            "Triton is up but does not serve it: `kubectl logs --namespace=line p --container=triton` says why"
        )
        assert diagnose(self.pod(), ("a", "c")) == seen

    def test_a_starting_server_is_no_failure_of_a_model(self) -> None:
        pod = self.pod(server=ContainerFacts(running=True))
        assert (diagnose(pod, ("c",)).reason, diagnose(pod, ("c",)).loaded) == ("Loading", "Unknown")

    def test_a_model_that_joins_waits_for_the_restart(self) -> None:
        seen = diagnose(self.pod(), ("d",))
        assert (seen.reason, seen.message) == ("Joining", "the shared server that runs does not hold it yet")

    def test_what_did_not_arrive_is_that_models_alone(self) -> None:
        pod = self.pod(FailedModel("c", "DigestMismatch", "not what was promised"))
        seen = diagnose(pod, ("c",))
        assert (seen.fetched, seen.reason, seen.message) == ("False", "DigestMismatch", "not what was promised")
        assert seen.terminal
        assert diagnose(pod, ("a",)).reason == "Serving"

    def test_what_may_arrive_later_needs_a_restart_and_says_so(self) -> None:
        seen = diagnose(self.pod(FailedModel("c", "SourceUnreachable", "nobody answers")), ("c",))
        assert seen.message == ("nobody answers; `littoral rollout refresh` starts the server anew and tries again")
        assert not seen.terminal

    def test_a_reason_that_nobody_knows_is_none(self) -> None:
        assert diagnose(self.pod(FailedModel("c", "Boo", "!")), ("c",)).reason == "FetchFailed"

    def test_a_report_calls_a_model_as_triton_does(self) -> None:
        pod = self.pod(FailedModel("plate_reader", "DigestMismatch", "not the bytes"))
        assert diagnose(pod, ("c",), called={"c": "plate_reader"}).reason == "DigestMismatch"


def test_a_pod_that_may_not_be_made_is_told_in_the_api_servers_words() -> None:
    forbidden = 'pods "plate-1" is forbidden: violates PodSecurity "baseline:latest": hostPort'
    seen = diagnose(None, refused=forbidden)
    assert (seen.reason, seen.message, seen.terminal) == ("PodForbidden", forbidden, False)
    assert diagnose(POD, refused=forbidden).reason == "Serving"
