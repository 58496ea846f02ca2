"""Objects from specs: `make("samplers", "dpmpp-2m:order=3")`; the inverse is `spec_of`."""

from difftool.names.specs import make, spec_of

__all__ = ["make", "spec_of"]
