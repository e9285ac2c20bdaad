"""specc compiles declarative probe specs to libbpf C and BPF objects."""

__version__ = "0.1.0"
