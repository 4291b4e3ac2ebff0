//! Processes, capabilities and the event log as a state machine that does no I/O.
