//! Runs a recorded event log again and finds the first difference.
