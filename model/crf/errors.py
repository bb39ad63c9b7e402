"""What can go wrong in the dense CRF."""

from toco.model.errors import Kind, TocoError


class CrfError(TocoError):
    """The dense CRF cannot run on these arrays or settings."""

    code = "crf"
    kind: Kind = "invalid"


class CrfBackendMissing(CrfError):
    """The library behind a CRF backend is not installed or does not load."""

    code = "crf_backend_missing"
    kind = "unavailable"
