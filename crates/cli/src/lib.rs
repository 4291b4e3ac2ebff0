//! The glasshouse command line.
