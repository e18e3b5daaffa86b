//! Only benches: the pieces that decide how fast the system is.
