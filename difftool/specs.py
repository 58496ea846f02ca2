"""Objects by name, as in the command line: `make("samplers", "dpmpp-2m:order=3")`, and back, `spec_of`."""

from difftool.names.specs import make, spec_of

__all__ = ["make", "spec_of"]
