"""The annotations of a CVAT task, over its API: made and fetched by CVAT's own SDK.

References:
    docs.cvat.ai, "SDK, high-level API": `Task.export_dataset`; cvat-sdk 2.80.
"""

from pathlib import Path
from typing import Final

from toco.model.errors import TocoError

MASK_FORMAT: Final = "Segmentation mask 1.1"


class CvatSdkMissing(TocoError):
    """CVAT's SDK is not installed."""

    code = "cvat_sdk_missing"
    kind = "invalid"


class CvatRefused(TocoError):
    """CVAT does not answer, or does not give the annotations."""

    code = "cvat_refused"
    kind = "unavailable"


def export_task(host: str, token: str, task: int, file: Path) -> None:
    """Have CVAT export a task as "Segmentation mask 1.1", without photos, and fetch the zip.

    Args:
        host: address of CVAT, with scheme.
        token: a personal access token.
        task: its number.
        file: receives the zip; it must not be there yet.

    Raises:
        CvatSdkMissing
        CvatRefused: no answer, a refusal, or an export that failed over there.
    """
    try:
        from cvat_sdk import make_client  # noqa: PLC0415 - installed by those who use CVAT alone
        from cvat_sdk.api_client.exceptions import ApiException  # noqa: PLC0415 - installed by those who use CVAT alone
        from cvat_sdk.core.exceptions import CvatSdkException  # noqa: PLC0415 - installed by those who use CVAT alone
        from cvat_sdk.core.proxies.types import Location  # noqa: PLC0415 - installed by those who use CVAT alone
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - what the SDK sends by
    except ImportError:
        raise CvatSdkMissing(
            "Exporting over CVAT's API needs its SDK.", fix="pip install cvat-sdk, or export the zip in CVAT."
        ) from None
    try:
        with make_client(host, access_token=token) as client:
            client.tasks.retrieve(task).export_dataset(
                MASK_FORMAT, file, include_images=False, status_check_period=1, location=Location.LOCAL
            )
    except (ApiException, CvatSdkException, HTTPError, AssertionError, TypeError, ValueError) as error:
        # Answers of what is no CVAT end in any of these.
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise CvatRefused(
            f"CVAT does not give the annotations of task {task}: {said[0]}",
            fix="Look at the address, the token and the number of the task.",
        ) from None
