//! Wires the services into a kernel: what an embedder uses.
